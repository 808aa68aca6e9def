"""A network's parameters from a checkpoint, with a prompt if it has none."""

import functools

import gin
import jax
import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, initial_prompts, network
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.standalone import parameters

PROMPT = "encoder/prompt/prompt/prompt"
LENGTH = 3


def network_of(prompt_length=LENGTH, **options):
    config = network.T5Config(
        vocab_size=40,
        emb_dim=12,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        head_dim=5,
        mlp_dim=20,
        prompt_length=prompt_length,
        **options,
    )
    return network.Transformer(config)


@pytest.fixture
def arrays(rng):
    """What a checkpoint of the network without a prompt holds."""
    shapes = parameters.shapes(network_of(prompt_length=0))
    return {
        f"target/{name}": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.fixture
def stored(write_legacy, tmp_path):
    """Writes a checkpoint and opens it."""
    return lambda arrays: open_model(write_legacy(tmp_path / "step", arrays))


@pytest.fixture
def load(tmp_path):
    return functools.partial(parameters.load, output_dir=tmp_path / "run")


@pytest.fixture(autouse=True)
def no_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def declare(kind):
    name = "prompt_tuning_recycling.initial_prompts.initial_prompt.kind"
    gin.bind_parameter(name, kind)


def test_a_model_without_a_prompt_is_what_was_stored(load, stored, arrays):
    loaded = load(stored(arrays), network_of(prompt_length=0))
    assert {f"target/{name}" for name in loaded} == arrays.keys()
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, arrays[f"target/{name}"])


def test_optimizer_states_and_the_step_are_not_parameters(load, stored, arrays):
    arrays["state/step"] = np.int32(7)
    arrays["state/param_states/x/v"] = np.zeros(3, np.float32)
    checkpoint = stored(arrays)
    assert PROMPT not in load(checkpoint, network_of(prompt_length=0))
    assert checkpoint.step == 7


def test_without_a_step_it_counts_as_the_first(stored, arrays):
    assert stored(arrays).step == 0


def test_the_checkpoints_own_prompt_is_used(load, stored, arrays, rng):
    prompt = rng.normal(size=(LENGTH, 12)).astype(np.float32)
    loaded = load(stored({**arrays, f"target/{PROMPT}": prompt}), network_of())
    np.testing.assert_array_equal(loaded[PROMPT], prompt)


def test_a_declared_prompt_is_made(load, stored, arrays):
    declare(initial_prompts.RandomUniform(seed=4))
    checkpoint = stored(arrays)
    loaded = load(checkpoint, network_of())
    expected = initial_prompts.RandomUniform(seed=4).make(checkpoint, LENGTH).array
    np.testing.assert_array_equal(loaded[PROMPT], expected)


def test_what_is_declared_goes_before_the_default(load, stored, arrays):
    declare(initial_prompts.RandomUniform(seed=4))
    checkpoint = stored(arrays)
    default = initial_prompts.RandomUniform(seed=5)
    loaded = load(checkpoint, network_of(), default_prompt=default)
    expected = initial_prompts.RandomUniform(seed=4).make(checkpoint, LENGTH).array
    np.testing.assert_array_equal(loaded[PROMPT], expected)


def test_a_declared_prompt_never_replaces_the_checkpoints_own(load, stored, arrays):
    declare(initial_prompts.RandomUniform())
    arrays[f"target/{PROMPT}"] = np.zeros((LENGTH, 12), np.float32)
    message = "already holds a prompt.*declare another one .RandomUniform."
    with pytest.raises(RecyclingError, match=message):
        load(stored(arrays), network_of())


def test_a_declared_prompt_needs_a_model_that_has_one(load, stored, arrays):
    declare(initial_prompts.RandomUniform())
    with pytest.raises(RecyclingError, match="the model has none.*ends in _prompt"):
        load(stored(arrays), network_of(prompt_length=0))


def test_a_prompt_from_nowhere_is_reported(load, stored, arrays):
    with pytest.raises(RecyclingError, match="holds none. Say where it comes from"):
        load(stored(arrays), network_of())


def test_a_prompt_left_over_is_reported(load, stored, arrays):
    arrays[f"target/{PROMPT}"] = np.zeros((LENGTH, 12), np.float32)
    message = r"prompt \[3, 12\], but the model has none there.*PROMPT_LENGTH=3"
    with pytest.raises(RecyclingError, match=message):
        load(stored(arrays), network_of(prompt_length=0))


def test_a_prompt_of_another_length_is_reported(load, stored, arrays):
    arrays[f"target/{PROMPT}"] = np.zeros((LENGTH + 1, 12), np.float32)
    message = r"shape \[4, 12\].*expects \[3, 12\]. Set --gin.PROMPT_LENGTH=4"
    with pytest.raises(RecyclingError, match=message):
        load(stored(arrays), network_of())


def test_a_missing_parameter_is_reported(load, stored, arrays):
    del arrays["target/encoder/layers_0/mlp/wo/kernel"]
    message = "lacks 1 of the model's .* first encoder/layers_0/mlp/wo/kernel.*models/"
    with pytest.raises(RecyclingError, match=message):
        load(stored(arrays), network_of(prompt_length=0))


def test_a_parameter_left_over_is_reported(load, stored, arrays):
    arrays["target/encoder/layers_1/mlp/wo/kernel"] = np.zeros(3, np.float32)
    with pytest.raises(RecyclingError, match="holds 1 parameters that the model does"):
        load(stored(arrays), network_of(prompt_length=0))


def test_a_parameter_of_another_shape_is_reported(load, stored, arrays):
    arrays["target/encoder/layers_0/mlp/wo/kernel"] = np.zeros((9, 12), np.float32)
    message = r"wo/kernel of shape \[9, 12\], but the model expects \[20, 12\]"
    with pytest.raises(RecyclingError, match=message):
        load(stored(arrays), network_of(prompt_length=0))


def test_parameters_are_float32_whatever_was_stored(load, stored, arrays):
    narrow = {name: array.astype(ml_dtypes.bfloat16) for name, array in arrays.items()}
    loaded = load(stored(narrow), network_of(prompt_length=0))
    assert {array.dtype.name for array in loaded.values()} == {"float32"}
    name = "encoder/encoder_norm/scale"
    np.testing.assert_array_equal(
        loaded[name], narrow[f"target/{name}"].astype(np.float32)
    )


@pytest.mark.thorough
def test_new_parameters_follow_the_seed():
    first, again, other = (parameters.new(network_of(), seed) for seed in (0, 0, 1))
    assert first.keys() == parameters.shapes(network_of()).keys()
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (first[PROMPT] != other[PROMPT]).any()


def test_shapes_allocate_nothing():
    # 4 TB, which no machine that runs this has.
    config = network.T5Config(vocab_size=2**30, emb_dim=2**10)
    shapes = parameters.shapes(network.Transformer(config))
    assert shapes["token_embedder/embedding"] == (2**30, 2**10)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.bool_])
@pytest.mark.parametrize("declared", [True, False])
def test_weights_that_are_whole_numbers_are_refused(
    load, stored, arrays, dtype, declared
):
    if declared:
        declare(initial_prompts.RandomUniform())
    name = "target/encoder/encoder_norm/scale"
    arrays[name] = arrays[name].astype(dtype)
    network = network_of() if declared else network_of(prompt_length=0)
    with pytest.raises(RecyclingError, match=f"{name}.*found dtype {np.dtype(dtype)}"):
        load(stored(arrays), network)


def test_a_step_to_resume_from_of_whole_numbers_is_refused(stored, arrays):
    arrays[f"target/{PROMPT}"] = np.ones((LENGTH, 12), np.uint16)
    with pytest.raises(RecyclingError, match=f"{PROMPT}.*found dtype uint16"):
        parameters.load_step(stored(arrays), network_of())
