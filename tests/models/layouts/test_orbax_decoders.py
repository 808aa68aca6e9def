"""MaxText's and Gemma's own checkpoints (layouts/maxtext.py, layouts/gemma.py)."""

import numpy as np
import orbax.checkpoint as ocp
import pytest

from prompt_tuning_recycling import open_model
from prompt_tuning_recycling.models import layouts, open_checkpoint


@pytest.fixture
def table(rng):
    return rng.normal(size=(40, 12)).astype(np.float32)


@pytest.fixture(params=[True, False], ids=["ocdbt", "folders"])
def save(request, tmp_path):
    """Saves a tree as those libraries do."""

    def save(tree, folder="model"):
        handler = ocp.PyTreeCheckpointHandler(use_ocdbt=request.param)
        with ocp.Checkpointer(handler) as checkpointer:
            checkpointer.save(tmp_path / folder, tree)
        return tmp_path / folder

    return save


def nested(name, table):
    tree = table
    for part in reversed(name.split("/")):
        tree = {part: tree}
    return tree


@pytest.mark.parametrize(
    "name",
    [
        "params/params/token_embedder/embedding",
        "params/token_embedder/embedding",
        "token_embedder/embedding/value",
        "base/token_embedder/embedding/value",
    ],
)
def test_maxtext_stores_what_the_layers_get(save, table, name):
    moments = {"opt_state": {"mu": nested(name, table + 1)}}
    step = {"step": np.asarray(5, np.int32)}
    model = open_model(save({**nested(name, table), **moments, **step}))
    assert isinstance(model.layout, layouts.MaxText)
    assert model.embeddings.name == name
    np.testing.assert_array_equal(model.embeddings.take([9, 3]), table[[9, 3]])
    assert model.step == 5


def test_maxtext_keeps_items_in_its_steps(save, table, tmp_path):
    tree = nested("params/params/token_embedder/embedding", table)
    save(tree, "checkpoints/5/items")
    for path in ("checkpoints/5", "checkpoints/5/items"):
        model = open_model(tmp_path / path)
        np.testing.assert_array_equal(model.embeddings.read(), table)


GEMMA = {
    "released": {"transformer/embedder": "input_embedding"},
    "saved": {"embedder": "input_embedding"},
    "trained": {"params/embedder": "input_embedding"},
}


@pytest.mark.parametrize("kind", GEMMA)
def test_gemma_multiplies_by_the_square_root_of_its_width(save, table, kind):
    ((module, name),) = GEMMA[kind].items()
    # A release has slashes in the names of its modules.
    tree = {module: {name: table}}
    if kind != "released":
        tree = nested(f"{module}/{name}", table)
    model = open_model(save(tree))
    assert isinstance(model.layout, layouts.Gemma)
    assert model.checkpoint.keys() == [f"{module}/{name}"]
    rows = model.embeddings.take([9, 3])
    np.testing.assert_allclose(rows, table[[9, 3]] * 12**0.5, rtol=1e-6)


def test_a_release_of_gemma_has_a_fingerprint_of_its_table(save, table):
    name = "transformer/embedder/input_embedding"
    prints = {
        open_checkpoint(
            save({"transformer/embedder": {"input_embedding": array}}, str(number))
        ).fingerprint(name)
        for number, array in enumerate([table, table + 1])
    }
    assert len(prints) == 2
