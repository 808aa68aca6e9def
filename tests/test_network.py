"""T5 1.1 with a soft prompt: its parameters, its sizes, and what a prompt changes."""

import dataclasses
import functools

import flax.traverse_util
import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prompt_tuning_recycling import network
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.standalone import parameters

LENGTH = 3
PROMPT = "encoder/prompt/prompt/prompt"
CONFIG = network.T5Config(
    vocab_size=40,
    emb_dim=12,
    num_heads=2,
    num_encoder_layers=2,
    num_decoder_layers=2,
    head_dim=5,
    mlp_dim=20,
    prompt_length=LENGTH,
)
# The first text is shorter than the second, so it ends in padding.
INPUTS = np.array([[7, 8, 9, 1, 0, 0], [4, 5, 6, 7, 8, 1]])
TARGETS = np.array([[11, 12, 1, 0], [21, 22, 23, 1]])
SHIFTED = np.pad(TARGETS, ((0, 0), (1, 0)))[:, :-1]


@pytest.fixture(autouse=True)
def no_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def variables_of(config, seed=0):
    """Parameters that are all random: new norms and biases would hide errors."""
    rng = np.random.default_rng(seed)
    shapes = parameters.shapes(network.Transformer(config))
    return unflat(
        {
            name: (0.5 * rng.normal(size=shape)).astype(np.float32)
            for name, shape in shapes.items()
        }
    )


@functools.partial(jax.jit, static_argnums=0, static_argnames="enable_dropout")
def logits_of(
    config,
    variables,
    inputs=INPUTS,
    shifted=SHIFTED,
    targets=TARGETS,
    inputs_of=None,
    targets_of=None,
    enable_dropout=False,
    key=0,
):
    return network.Transformer(config).apply(
        variables,
        inputs,
        shifted,
        targets,
        inputs_of,
        targets_of,
        enable_dropout=enable_dropout,
        rngs={"dropout": jax.random.key(key)},
    )


def flat(variables):
    return flax.traverse_util.flatten_dict(variables["params"], sep="/")


def unflat(params):
    return {"params": flax.traverse_util.unflatten_dict(params, sep="/")}


# Parameters


# google-research/text-to-text-transfer-transformer, "released_checkpoints.md": 77M,
# 250M, 800M, 3B, 11B; to the unit as the models on the Hugging Face hub have them.
PUBLISHED = {
    "small": 76_961_152,
    "base": 247_577_856,
    "large": 783_150_080,
    "xl": 2_849_757_184,
    "xxl": 11_135_332_352,
}


@gin.configurable(module="test_network")
def built(module):
    return module


def declared(*files):
    """The network that gin files declare."""
    gin.add_config_file_search_path(gin_path())
    for file in files:
        gin.parse_config_file(file)
    gin.parse_config("test_network.built.module = %NETWORK")
    return built()


@pytest.mark.parametrize("size", PUBLISHED)
def test_each_size_has_as_many_parameters_as_the_published_model(size):
    shapes = parameters.shapes(declared(f"models/t5_1_1_{size}.gin"))
    assert sum(map(np.prod, shapes.values())) == PUBLISHED[size]


@pytest.mark.parametrize("size", [*PUBLISHED, "tiny"])
def test_the_file_with_a_prompt_adds_that_one_parameter(size):
    without = parameters.shapes(declared(f"models/t5_1_1_{size}.gin"))
    gin.clear_config()
    module = declared(f"models/t5_1_1_{size}_prompt.gin")
    added = dict(parameters.shapes(module).items() - without.items())
    assert added == {"encoder/prompt/prompt/prompt": (100, module.config.emb_dim)}


def test_tied_logits_are_the_embedding_table():
    config = dataclasses.replace(
        CONFIG, logits_via_embedding=True, mlp_activations=("relu",)
    )
    names = parameters.shapes(network.Transformer(config))
    assert "decoder/logits_dense/kernel" not in names
    assert "encoder/layers_0/mlp/wi/kernel" in names


def made(tokens=None):
    """Shapes of what initialization makes."""
    if tokens is None:
        tokens = jnp.ones((2, 4), jnp.int32)
    init = network.Transformer(CONFIG).init
    return jax.eval_shape(lambda: init(jax.random.key(0), tokens, tokens, tokens))


def test_every_parameter_has_logical_axes():
    variables = made()
    axes = {
        name.removesuffix("_axes"): metadata.names
        for name, metadata in flat({"params": variables["params_axes"]}).items()
    }
    params = flat(variables)
    assert axes.keys() == params.keys()
    assert {name: len(axes[name]) for name in axes} == {
        name: array.ndim for name, array in params.items()
    }
    assert axes["encoder/prompt/prompt/prompt"] == ("prompt", "prompt_embed")
    assert axes["token_embedder/embedding"] == ("vocab", "embed")


def test_parameters_can_be_made_by_floating_point_tokens_as_t5x_does():
    assert made(jnp.ones((2, 4), jnp.float32)) == made()


@pytest.mark.parametrize(
    ("step", "prompt_length"),
    [
        ("prompt_orbax/checkpoint_50", 8),
        ("prompt_legacy/checkpoint_50", 8),
        ("target_orbax/checkpoint_40", 0),
        ("target_legacy/checkpoint_40", 0),
    ],
)
def test_a_checkpoint_of_t5x_has_just_the_parameters(shared_data, step, prompt_length):
    checkpoint = open_checkpoint(shared_data / "t5x_written" / step)
    stored = {
        name.removeprefix("target/"): checkpoint.shape(name)
        for name in checkpoint.keys()
        if name.startswith("target/")
    }
    heads = stored["encoder/relpos_bias/rel_embedding"][0]
    emb_dim, width = stored["encoder/layers_0/attention/query/kernel"]
    config = network.T5Config(
        vocab_size=32128,
        emb_dim=emb_dim,
        num_heads=heads,
        head_dim=width // heads,
        num_encoder_layers=2,
        num_decoder_layers=2,
        mlp_dim=stored["encoder/layers_0/mlp/wi_0/kernel"][1],
        prompt_length=prompt_length,
    )
    assert stored == dict(parameters.shapes(network.Transformer(config)))
    params = {name: checkpoint.read("target/" + name) for name in stored}
    assert np.isfinite(logits_of(config, unflat(params))).all()


T5X_NAMES = """
    token_embedder/embedding encoder/prompt/prompt/prompt
    encoder/relpos_bias/rel_embedding encoder/encoder_norm/scale
    encoder/layers_0/attention/query/kernel encoder/layers_0/attention/key/kernel
    encoder/layers_0/attention/value/kernel encoder/layers_0/attention/out/kernel
    encoder/layers_0/mlp/wi_0/kernel encoder/layers_0/mlp/wi_1/kernel
    encoder/layers_0/mlp/wo/kernel encoder/layers_0/pre_attention_layer_norm/scale
    encoder/layers_0/pre_mlp_layer_norm/scale
    decoder/relpos_bias/rel_embedding decoder/decoder_norm/scale
    decoder/logits_dense/kernel
    decoder/layers_0/self_attention/query/kernel
    decoder/layers_0/self_attention/key/kernel
    decoder/layers_0/self_attention/value/kernel
    decoder/layers_0/self_attention/out/kernel
    decoder/layers_0/encoder_decoder_attention/query/kernel
    decoder/layers_0/encoder_decoder_attention/key/kernel
    decoder/layers_0/encoder_decoder_attention/value/kernel
    decoder/layers_0/encoder_decoder_attention/out/kernel
    decoder/layers_0/mlp/wi_0/kernel decoder/layers_0/mlp/wi_1/kernel
    decoder/layers_0/mlp/wo/kernel
    decoder/layers_0/pre_self_attention_layer_norm/scale
    decoder/layers_0/pre_cross_attention_layer_norm/scale
    decoder/layers_0/pre_mlp_layer_norm/scale
"""


def test_parameters_go_by_the_names_of_t5x():
    config = dataclasses.replace(CONFIG, num_encoder_layers=1, num_decoder_layers=1)
    shapes = parameters.shapes(network.Transformer(config))
    assert set(shapes) == set(T5X_NAMES.split())


# What a prompt changes


def test_a_prompt_is_as_if_its_vectors_were_tokens_before_the_input():
    variables = variables_of(CONFIG)
    params = flat(variables)
    # Rows of the table that no token of the texts has.
    rows = np.arange(37, 37 + LENGTH)
    params["token_embedder/embedding"][rows] = params.pop(PROMPT)
    inputs = np.concatenate([np.tile(rows, (2, 1)), INPUTS], axis=1)
    without = dataclasses.replace(CONFIG, prompt_length=0)
    expected = logits_of(without, unflat(params), inputs)
    np.testing.assert_array_equal(logits_of(CONFIG, variables), expected)


def test_a_prompt_adds_its_positions_to_what_is_encoded():
    encoded = encode(CONFIG, variables_of(CONFIG))
    assert encoded.shape == (2, LENGTH + 6, 12)


def test_each_vector_of_the_prompt_counts():
    variables = variables_of(CONFIG)
    before = logits_of(CONFIG, variables)
    for position in range(LENGTH):
        params = flat(variables)
        params[PROMPT] = params[PROMPT].copy()
        params[PROMPT][position] += 1.0
        difference = abs(logits_of(CONFIG, unflat(params)) - before)
        # For both examples, at every target that is not padding.
        assert (difference.max(axis=-1)[TARGETS > 0] > 1e-3).all()


def test_padding_changes_nothing():
    variables = variables_of(CONFIG)
    longer = np.pad(INPUTS, ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        logits_of(CONFIG, variables, longer)[TARGETS > 0],
        logits_of(CONFIG, variables)[TARGETS > 0],
        atol=2e-5,
    )


def test_examples_do_not_see_each_other():
    variables = variables_of(CONFIG)
    alone = logits_of(CONFIG, variables, INPUTS[:1], SHIFTED[:1], TARGETS[:1])
    together = logits_of(CONFIG, variables)[:1]
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_targets_do_not_see_later_ones():
    variables = variables_of(CONFIG)
    shifted = SHIFTED.copy()
    shifted[:, 2] = 30
    changed = logits_of(CONFIG, variables, INPUTS, shifted)
    difference = abs(changed - logits_of(CONFIG, variables)).max(axis=-1)
    assert (difference[:, :2] < 1e-6).all()
    assert (difference[:, 2] > 1e-3).all()


# Decoding


@functools.partial(jax.jit, static_argnums=0)
def encode(config, variables):
    return network.Transformer(config).apply(
        variables, INPUTS, enable_dropout=False, method="encode"
    )


def cached_logits(config, variables, length, choose):
    """Decodes token by token; returns the logits [batch, length, vocab]."""
    module = network.Transformer(config)
    encoded = encode(config, variables)

    @jax.jit
    def decode(variables, tokens):
        return module.apply(
            variables,
            encoded,
            INPUTS,
            tokens,
            tokens,
            enable_dropout=False,
            decode=True,
            max_decode_length=length,
            mutable=["cache"],
            method="decode",
        )

    _, state = jax.eval_shape(decode, variables, jnp.zeros((len(INPUTS), length), int))
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state["cache"])
    token = jnp.zeros((len(INPUTS), 1), jnp.int32)
    every = []
    for index in range(length):
        logits, state = decode({**variables, "cache": cache}, token)
        cache = state["cache"]
        every.append(logits[:, 0])
        token = choose(index, logits)
    return jnp.stack(every, axis=1)


@pytest.mark.parametrize("prompt_length", [0, LENGTH])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_with_the_cache_logits_are_those_without_it(prompt_length, dtype):
    config = dataclasses.replace(CONFIG, prompt_length=prompt_length, dtype=dtype)
    variables = variables_of(config)
    # Targets without padding, which a cache knows nothing of.
    targets = np.array([[11, 12, 13, 14, 15], [21, 22, 23, 24, 25]])
    shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    expected = logits_of(config, variables, INPUTS, shifted, targets)
    found = cached_logits(
        config, variables, 5, lambda index, _: targets[:, index : index + 1]
    )
    tolerance = 1e-5 if dtype == "float32" else 0.05
    scale = abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance)


def test_greedy_decoding_with_the_cache_equals_that_without_it():
    variables = variables_of(CONFIG)
    length = 7
    shifted = np.zeros((len(INPUTS), length + 1), np.int32)
    targets = np.ones((len(INPUTS), length), np.int32)
    for index in range(length):
        logits = logits_of(CONFIG, variables, INPUTS, shifted[:, :-1], targets)
        shifted[:, index + 1] = logits[:, index].argmax(axis=-1)
    cached = cached_logits(
        CONFIG, variables, length, lambda _, logits: logits.argmax(axis=-1)
    )
    found = cached.argmax(axis=-1)
    np.testing.assert_array_equal(found, shifted[:, 1:])
    # Not the same token over and over, which would hide a wrong position.
    assert len(np.unique(found)) > 2


def test_with_a_cache_only_one_token_at_a_time_is_decoded():
    module = network.Transformer(CONFIG)
    tokens = np.ones((2, 4), np.int32)

    def decode(variables):
        return module.apply(
            variables,
            jnp.zeros((2, LENGTH + 6, 12)),
            INPUTS,
            tokens,
            tokens,
            enable_dropout=False,
            decode=True,
            mutable=["cache"],
            method="decode",
        )

    def decode_twice(variables):
        _, state = decode(variables)
        return decode({**variables, **state})

    with pytest.raises(ValueError, match="expected decoder_input_tokens .batch, 1."):
        jax.eval_shape(decode_twice, variables_of(CONFIG))


# Options


def test_in_bfloat16_parameters_and_logits_stay_float32():
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    variables = variables_of(config)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    logits = logits_of(config, variables)
    assert logits.dtype == jnp.float32
    expected = logits_of(CONFIG, variables)
    assert 0 < abs(logits - expected).max() < 0.1 * abs(expected).max()


def test_one_hot_embedding_gives_the_same_numbers():
    config = dataclasses.replace(CONFIG, one_hot_embedding=True)
    variables = variables_of(CONFIG)
    np.testing.assert_allclose(
        logits_of(config, variables), logits_of(CONFIG, variables), atol=1e-5
    )


def dropped_out(rate, key, enable_dropout=True):
    config = dataclasses.replace(CONFIG, dropout_rate=rate)
    variables = variables_of(CONFIG)
    return logits_of(config, variables, enable_dropout=enable_dropout, key=key)


def test_dropout_follows_its_random_stream():
    np.testing.assert_array_equal(dropped_out(0.3, key=1), dropped_out(0.3, key=1))
    assert abs(dropped_out(0.3, key=1) - dropped_out(0.3, key=2)).max() > 1e-3


def test_without_dropout_nothing_is_dropped():
    expected = logits_of(CONFIG, variables_of(CONFIG))
    np.testing.assert_array_equal(
        dropped_out(0.3, key=1, enable_dropout=False), expected
    )
    np.testing.assert_array_equal(dropped_out(0.0, key=1), expected)


def test_a_new_models_queries_are_scaled_by_the_width_of_a_head():
    config = dataclasses.replace(CONFIG, emb_dim=256, head_dim=64)
    params = parameters.new(network.Transformer(config), seed=0)
    attention = "encoder/layers_0/attention"
    # Variance 1/emb_dim for keys, and for queries that divided by head_dim.
    assert np.std(params[f"{attention}/key/kernel"]) == pytest.approx(1 / 16, rel=0.05)
    query = np.std(params[f"{attention}/query/kernel"])
    assert query == pytest.approx(1 / 128, rel=0.05)


# Packing


def test_packed_examples_are_as_if_alone():
    config = dataclasses.replace(CONFIG, prompt_length=0)
    variables = variables_of(config)
    inputs = np.array([[7, 8, 1, 4, 5, 6, 1]])
    inputs_of = np.array([[1, 1, 1, 2, 2, 2, 2]])
    targets = np.array([[11, 1, 21, 22, 1]])
    shifted = np.array([[0, 11, 0, 21, 22]])
    targets_of = np.array([[1, 1, 2, 2, 2]])
    packed = logits_of(
        config, variables, inputs, shifted, targets, inputs_of, targets_of
    )
    for example in (1, 2):
        ours, theirs = inputs_of == example, targets_of == example
        alone = logits_of(
            config,
            variables,
            inputs[ours][None],
            shifted[theirs][None],
            targets[theirs][None],
        )
        np.testing.assert_allclose(packed[theirs], alone[0], atol=1e-5)


def test_packing_is_refused_where_there_is_a_prompt():
    with pytest.raises(ValueError, match="share one prompt: set pack = False"):
        logits_of(CONFIG, variables_of(CONFIG), inputs_of=np.ones_like(INPUTS))


def test_packed_inputs_need_packed_targets():
    config = dataclasses.replace(CONFIG, prompt_length=0)
    with pytest.raises(ValueError, match="and decoder_segment_ids"):
        logits_of(config, variables_of(config), inputs_of=np.ones_like(INPUTS))
