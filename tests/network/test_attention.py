"""How attention is initialized, and its cache of earlier tokens."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prompt_tuning_recycling import network
from prompt_tuning_recycling.standalone import parameters

from ..conftest import thorough
from .conftest import CONFIG, INPUTS, LENGTH, encode, logits_of, variables_of

pytestmark = pytest.mark.slow


def test_a_new_models_queries_are_scaled_by_the_width_of_a_head():
    config = dataclasses.replace(CONFIG, emb_dim=256, head_dim=64)
    params = parameters.new(network.Transformer(config), seed=0)
    attention = "encoder/layers_0/attention"
    # The variance is 1/emb_dim for keys, and 1/(emb_dim * head_dim) for queries.
    assert np.std(params[f"{attention}/key/kernel"]) == pytest.approx(1 / 16, rel=0.05)
    query = np.std(params[f"{attention}/query/kernel"])
    assert query == pytest.approx(1 / 128, rel=0.05)


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


@pytest.mark.parametrize(
    ("prompt_length", "dtype"), [(LENGTH, "float32"), thorough(0, "bfloat16")]
)
def test_with_the_cache_logits_are_those_without_it(prompt_length, dtype):
    config = dataclasses.replace(CONFIG, prompt_length=prompt_length, dtype=dtype)
    variables = variables_of(config)
    # Targets without padding, because the cache does not know about padding.
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
