"""The network's logits against T5X's own minimal network, on T5X's checkpoint."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from prompt_tuning_recycling import network
from prompt_tuning_recycling.models import open_checkpoint

SIZES = {
    "vocab_size": 32128,
    "emb_dim": 24,
    "num_heads": 2,
    "head_dim": 8,
    "mlp_dim": 32,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "mlp_activations": ("gelu", "linear"),
    "dropout_rate": 0.0,
    "logits_via_embedding": False,
}


@pytest.fixture(scope="module", params=["orbax", "legacy"])
def both(request, t5x_written):
    from t5x.examples.t5 import network as t5x_network

    checkpoint = open_checkpoint(t5x_written / f"target_{request.param}/checkpoint_40")
    named = {
        name.removeprefix("target/"): jnp.asarray(checkpoint.read(name))
        for name in checkpoint.keys()
        if name.startswith("target/")
    }
    params = {"params": traverse_util.unflatten_dict(named, sep="/")}
    ours = network.Transformer(network.T5Config(**SIZES))
    theirs = t5x_network.Transformer(t5x_network.T5Config(**SIZES))
    return ours, theirs, params


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    inputs = rng.integers(2, 32000, (3, 150))
    targets = rng.integers(2, 32000, (3, 140))
    inputs[1, 90:] = 0
    targets[2, 70:] = 0
    decoder_inputs = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    return inputs, decoder_inputs, targets


def test_logits(both, tokens):
    ours, theirs, params = both
    a, b = (m.apply(params, *tokens, enable_dropout=False) for m in (ours, theirs))
    assert a.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)


def test_logits_of_packed_examples(both, tokens):
    ours, theirs, params = both
    inputs, decoder_inputs, targets = tokens
    segments = {
        "encoder_segment_ids": np.where(np.arange(150) < 60, 1, 2) * (inputs > 0),
        "decoder_segment_ids": np.where(np.arange(140) < 50, 1, 2) * (targets > 0),
        "encoder_positions": np.zeros_like(inputs),
        "decoder_positions": np.zeros_like(targets),
    }
    a, b = (
        m.apply(
            params, inputs, decoder_inputs, targets, enable_dropout=False, **segments
        )
        for m in (ours, theirs)
    )
    np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)


def test_cached_decoding(both, tokens):
    ours, theirs, params = both
    inputs, decoder_inputs, _ = tokens
    length = 9
    results = [
        _decode(m, params, inputs, decoder_inputs, length) for m in (ours, theirs)
    ]
    (a, a_cache), (b, b_cache) = results
    np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)
    shapes = [jax.tree.map(jnp.shape, cache) for cache in (a_cache, b_cache)]
    assert shapes[0] == shapes[1]
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), a_cache, b_cache
    )


def _decode(module, params, inputs, decoder_inputs, length):
    encoded = module.apply(params, inputs, enable_dropout=False, method="encode")
    empty = jnp.ones((len(inputs), length), jnp.int32)
    _, state = module.apply(
        params,
        jnp.ones_like(inputs),
        empty,
        empty,
        enable_dropout=False,
        decode=True,
        mutable=["cache"],
    )
    logits = []
    for index in range(length):
        token = decoder_inputs[:, index : index + 1]
        step, state = module.apply(
            {**params, **state},
            encoded,
            inputs,
            token,
            token,
            enable_dropout=False,
            decode=True,
            max_decode_length=length,
            mutable=["cache"],
            method="decode",
        )
        logits.append(step)
    return jnp.concatenate(logits, axis=1), state["cache"]
