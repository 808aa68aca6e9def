"""A model of Hugging Face becomes a checkpoint of T5X and again one of Hugging Face,
and the other way round: the same bits."""

import json
import shutil
import weakref

import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest

from prompt_tuning_recycling.converting import convert
from prompt_tuning_recycling.models import StoredArray, open_model

from ..conftest import DEMO_MODELS
from .conftest import DTYPES, made_tensors, stored

EVERY_T5 = (
    "t5_v1_0_tied",
    "t5_v1_1_bfloat16",
    "t5_v1_1_source",
    "t5_v1_1_target_sharded",
)


def there_and_back(folder, tmp_path, **options):
    step = convert(folder, tmp_path / "t5x/checkpoint_7").path
    return convert(step, tmp_path / "back", **options).path


def contents(path):
    """Every array of a checkpoint: name -> dtype, shape and bytes."""
    checkpoint = open_model(path).checkpoint
    arrays = {name: checkpoint.read(name) for name in checkpoint.keys()}
    return {n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()}


@pytest.mark.parametrize("name", EVERY_T5)
def test_what_transformers_wrote(shared_data, tmp_path, name):
    folder = shared_data / "hf_written" / name
    back = there_and_back(folder, tmp_path)
    assert stored(back) == stored(folder)
    written, again = (
        json.loads((one / "config.json").read_text()) for one in (folder, back)
    )
    # How much is dropped in training, how weights begin, and what is not T5's.
    free = {"dropout_rate", "classifier_dropout", "transformers_version", "is_decoder"}
    free |= {"dense_act_fn", "is_gated_act"}  # feed_forward_proj says it.
    assert {k: v for k, v in written.items() if k not in free} == {
        k: v for k, v in again.items() if k in written and k not in free
    }


@pytest.mark.parametrize("name", ["target_orbax", "target_legacy"])
def test_what_t5x_wrote(shared_data, tmp_path, name):
    step = shared_data / f"t5x_written/{name}/checkpoint_40"
    folder = convert(step, tmp_path / "hf").path
    again = convert(folder, tmp_path / "checkpoint_40").path
    before = contents(step)
    kept = {n: a for n, a in before.items() if n.startswith(("target/", "state/step"))}
    assert contents(again) == kept
    assert len(kept) == 53


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(
    ("output", "changes"),
    [
        ("own", {}),
        # T5 1.0; T5 1.1 as transformers 5 saves it; T5 1.0 with a copy of the table.
        ("none", {"tie_word_embeddings": True}),
        ("none", {"tie_word_embeddings": True, "scale_decoder_outputs": False}),
    ],
)
def test_small_models(rng, save, tmp_path, dtype, gated, output, changes):
    tensors = made_tensors(rng, DTYPES[dtype], gated)
    if output == "none":
        del tensors["lm_head.weight"]
    proj = "gated-gelu" if gated else "relu"
    folder = save(tensors, feed_forward_proj=proj, **changes)
    back = there_and_back(folder, tmp_path)
    assert stored(back) == stored(folder)
    assert open_model(back).network_sizes == open_model(folder).network_sizes


def test_each_parameter_keeps_its_own_dtype(rng, save, tmp_path):
    tensors = made_tensors(rng)
    for number, name in enumerate(sorted(tensors)):
        narrow = (np.float32, np.float16, ml_dtypes.bfloat16)[number % 3]
        tensors[name] = tensors[name].astype(narrow)
    folder = save(tensors)
    back = there_and_back(folder, tmp_path, largest=3000)
    assert len(list(back.glob("*.safetensors"))) > 2
    assert stored(back) == stored(folder)


def test_a_copy_of_the_table_is_the_table(rng, save, tmp_path):
    tensors = made_tensors(rng)
    tensors["lm_head.weight"] = tensors["shared.weight"].copy()
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].copy()
    folder = save(tensors, tie_word_embeddings=True)
    done = convert(folder, tmp_path / "checkpoint_0")
    assert done.config.logits_via_embedding
    assert "copy of the table" in done.notes[0]
    back = convert(done.path, tmp_path / "back").path
    assert stored(back).keys() == (
        tensors.keys() - {"lm_head.weight", "encoder.embed_tokens.weight"}
    )
    assert json.loads((back / "config.json").read_text())["scale_decoder_outputs"]


def test_an_output_layer_with_a_factor_is_multiplied(rng, save, tmp_path):
    tensors = made_tensors(rng)
    folder = save(tensors, tie_word_embeddings=True)
    done = convert(folder, tmp_path / "checkpoint_0")
    assert "is multiplied by 1/sqrt(width)" in done.notes[0]
    kernel = open_model(done.path).parameters["decoder/logits_dense/kernel"].read()
    wanted = tensors["lm_head.weight"].T * 12**-0.5
    np.testing.assert_allclose(kernel, wanted, rtol=1e-6)


def test_orbax_restores_what_is_written(rng, save, tmp_path):
    tensors = made_tensors(rng, ml_dtypes.bfloat16)
    folder = save(tensors)
    step = convert(folder, tmp_path / "run", step=12).path
    assert step == tmp_path / "run/checkpoint_12"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.restore(step / "state")
    assert tree["state"]["step"].dtype == np.int32
    assert int(tree["state"]["step"]) == open_model(step).step == 12
    assert tree.keys() == {"state", "target"}
    kernel = tree["target"]["decoder"]["layers_0"]["mlp"]["wo"]["kernel"]
    wanted = tensors["decoder.block.0.layer.2.DenseReluDense.wo.weight"].T
    assert kernel.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(kernel, wanted)
    manager = ocp.CheckpointManager(
        tmp_path / "run", options=ocp.CheckpointManagerOptions(step_prefix="checkpoint")
    )
    assert manager.all_steps() == [12]


def test_several_chunks(rng, save, tmp_path, monkeypatch):
    monkeypatch.setattr("prompt_tuning_recycling.models.formats.writing._AT_ONCE", 200)
    folder = save(made_tensors(rng))
    back = there_and_back(folder, tmp_path)
    assert stored(back) == stored(folder)


@pytest.mark.parametrize("dtype", DTYPES)
def test_another_dtype(rng, save, tmp_path, dtype):
    tensors = made_tensors(rng, DTYPES["bfloat16" if dtype == "float32" else "float32"])
    folder = save(tensors)
    step = convert(folder, tmp_path / "checkpoint_7", dtype=dtype).path
    back = convert(step, tmp_path / "back").path
    wanted = {name: a.astype(DTYPES[dtype]).tobytes() for name, a in tensors.items()}
    assert {name: data for name, (_, _, data) in stored(back).items()} == wanted
    assert json.loads((back / "config.json").read_text())["dtype"] == dtype


def test_shards_and_their_index(rng, save, tmp_path):
    tensors = made_tensors(rng)
    folder = save(tensors)
    done = convert(folder, tmp_path / "checkpoint_0")
    done = convert(done.path, tmp_path / "back", largest=1500)
    names = sorted(path.name for path in done.path.glob("*.safetensors"))
    count = done.files
    assert names == [
        f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)
    ]
    index = json.loads((done.path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(a.nbytes for a in tensors.values())
    assert index["weight_map"].keys() == tensors.keys()
    for name in names:
        inside = [key for key, file in index["weight_map"].items() if file == name]
        # A tensor that is larger than that has a file of its own.
        total = sum(tensors[key].nbytes for key in inside)
        assert total <= 1500 or len(inside) == 1
    assert stored(done.path) == stored(folder)
    assert open_model(done.path).embeddings.shape == (40, 12)


def test_the_vocabulary_is_copied(rng, save, tmp_path):
    folder = save(made_tensors(rng))
    shutil.copy(DEMO_MODELS / "vocabulary.model", folder / "spiece.model")
    back = there_and_back(folder, tmp_path)
    wanted = (DEMO_MODELS / "vocabulary.model").read_bytes()
    assert (back / "spiece.model").read_bytes() == wanted
    again = convert(
        folder,
        tmp_path / "again/checkpoint_7",
        vocabulary=DEMO_MODELS / "vocabulary.model",
    )
    assert (again.path / "vocabulary.model").read_bytes() == wanted
    # Beside the checkpoint of T5X, as its releases have it.
    demo = convert(DEMO_MODELS / "source", tmp_path / "of_demo").path
    assert not (demo / "spiece.model").exists()


def test_the_activation_that_is_asked_for(rng, save, tmp_path):
    folder = save(made_tensors(rng), feed_forward_proj="gated-silu")
    done = convert(folder, tmp_path / "checkpoint_0")
    assert done.config.mlp_activations == ("silu", "linear")
    back = convert(done.path, tmp_path / "back", activation="gated-silu")
    assert not back.notes
    sizes = open_model(back.path).network_sizes
    assert sizes["mlp_activations"] == ("silu", "linear")
    guessed = convert(done.path, tmp_path / "guessed")
    assert "taken to be gated-gelu" in guessed.notes[0]


def test_few_arrays_are_in_memory_at_once(rng, save, tmp_path, monkeypatch):
    folder = save(made_tensors(rng))
    read, arrays, most = StoredArray.read, [], []

    def counted(self):
        # The table and the output layer are compared.
        most.append(sum(array() is not None for array in arrays))
        found = read(self)
        whole = found.base if isinstance(found.base, np.ndarray) else found
        arrays.append(weakref.ref(whole))
        return found

    monkeypatch.setattr(StoredArray, "read", counted)
    there_and_back(folder, tmp_path)
    assert len(arrays) > 60
    assert max(most) == 1
