"""A model says what is in a checkpoint, whatever its format, and reads it on demand."""

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, open_model
from prompt_tuning_recycling.models import Model, layouts

from ..conftest import train_vocabulary

EMBEDDING = "target/token_embedder/embedding"
ENCODER = "target/encoder/prompt/prompt/prompt"
DECODER = "target/decoder/prompt/prompt/prompt"
ADAPTER = "target/encoder/layers_0/adapter/prompt"


@pytest.fixture
def step(tmp_path, write_any, source_table, prompt):
    arrays = {
        EMBEDDING: source_table.astype(ml_dtypes.bfloat16),
        ENCODER: prompt,
        DECODER: prompt + 1,
        ADAPTER: prompt + 2,
        "state/step": np.asarray(7, np.int32),
        "state/param_states/encoder/prompt/prompt/prompt/v": prompt * 0,
    }
    return write_any(tmp_path / "run" / "checkpoint_7", arrays)


def test_what_a_train_state_holds(step, source_table, prompt):
    model = open_model(step)
    assert model.step == 7
    assert model.embeddings.shape == (384, 12)
    assert model.embeddings.dtype == ml_dtypes.bfloat16
    rows = model.embeddings.take([5, 300])
    assert rows.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(
        rows, source_table[[5, 300]].astype(ml_dtypes.bfloat16)
    )
    assert set(model.prompts) == {
        "encoder",
        "decoder",
        "encoder/layers_0/adapter/prompt",
    }
    np.testing.assert_array_equal(model.prompts["decoder"].read(), prompt + 1)
    assert set(model.parameters) == {
        name.removeprefix("target/") for name in (EMBEDDING, ENCODER, DECODER, ADAPTER)
    }


@pytest.mark.parametrize("stored", [np.int32(46), np.float32(46), np.int64([46])])
def test_a_step_of_any_dtype(tmp_path, write_orbax, source_table, stored):
    arrays = {EMBEDDING: source_table, "state/step": stored}
    assert open_model(write_orbax(tmp_path / "checkpoint_46", arrays)).step == 46


@pytest.mark.parametrize("stored", [np.float32(0.5), np.int32(-1), np.float32(np.inf)])
def test_a_step_that_is_none(tmp_path, write_orbax, source_table, stored):
    arrays = {EMBEDDING: source_table, "state/step": stored}
    model = open_model(write_orbax(tmp_path / "checkpoint_1", arrays))
    with pytest.raises(RecyclingError, match="state/step, to be a whole number"):
        model.step  # noqa: B018


def test_a_model_that_is_open_is_returned_as_it_is(step):
    model = open_model(step)
    assert open_model(model) is model


def test_one_array_is_whatever_is_asked_for(source_table, tmp_path):
    np.save(tmp_path / "table.npy", source_table)
    for origin in (source_table, tmp_path / "table.npy"):
        model = open_model(origin)
        np.testing.assert_array_equal(model.embeddings.take([3]), source_table[[3]])
        np.testing.assert_array_equal(model.prompts["encoder"].read(), source_table)
        assert model.step == 0
        assert not model.parameters
        assert model.vocabulary is None


def test_a_table_of_another_name(tmp_path, write_orbax, source_table):
    name = "target/decoder/embed/kernel"
    step = write_orbax(tmp_path / "checkpoint_1", {name: source_table})
    assert open_model(step, embedding_name=name).embeddings.shape == (384, 12)
    with pytest.raises(RecyclingError, match=f"no parameter '{EMBEDDING}'"):
        _ = open_model(step).embeddings


def test_a_table_is_a_matrix(source_table):
    with pytest.raises(RecyclingError, match="to be a table"):
        _ = open_model(source_table[0]).embeddings


class Doubling(layouts.SingleArray):
    def scale(self, width):
        assert width == 12
        return 2.0


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_embeddings_are_read_in_the_space_of_prompts(source_table, dtype):
    """Some models multiply them before a prompt joins."""
    plain = open_model(source_table.astype(dtype))
    model = Model(plain.checkpoint, Doubling())
    assert model.embeddings.scale == 2
    rows = model.embeddings.take([1, 2])
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, 2 * plain.embeddings.take([1, 2]))


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "trained"
    train_vocabulary(path, ["a film", "the film"] * 20, 20)
    return path.read_bytes()


@pytest.mark.parametrize(
    "name", ["sentencepiece.model", "spiece.model", "tokenizer.model"]
)
@pytest.mark.parametrize("folder", ["", "checkpoint_7"])
def test_a_vocabulary_beside_it_is_found(step, vocabulary, name, folder):
    assert open_model(step).vocabulary is None
    (step.parent / folder / name).write_bytes(vocabulary)
    found = open_model(step).vocabulary
    pieces = [found.pieces[row] for row in found.encode("the film")]
    assert "".join(pieces) == "▁the▁film"


def test_a_vocabulary_that_is_given(step, tmp_path, vocabulary):
    (tmp_path / "mine").write_bytes(vocabulary)
    assert open_model(step, vocabulary=tmp_path / "mine").vocabulary.fewest_rows > 0
    with pytest.raises(RecyclingError, match="cannot read the vocabulary .*nowhere"):
        _ = open_model(step, vocabulary=tmp_path / "nowhere").vocabulary
