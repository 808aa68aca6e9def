"""The whole network: its parameters, what its tokens see, its dtypes, and packing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prompt_tuning_recycling import network
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.standalone import parameters

from .conftest import (
    CONFIG,
    INPUTS,
    SHIFTED,
    TARGETS,
    flat,
    logits_of,
    unflat,
    variables_of,
)

pytestmark = pytest.mark.slow

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


def test_in_bfloat16_parameters_and_logits_stay_float32():
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    variables = variables_of(config)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    logits = logits_of(config, variables)
    assert logits.dtype == jnp.float32
    expected = logits_of(CONFIG, variables)
    assert 0 < abs(logits - expected).max() < 0.1 * abs(expected).max()


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


def test_packed_inputs_need_packed_targets():
    config = dataclasses.replace(CONFIG, prompt_length=0)
    with pytest.raises(ValueError, match="and decoder_segment_ids"):
        logits_of(config, variables_of(config), inputs_of=np.ones_like(INPUTS))
