"""The network against a plain T5 that is written from the papers (arXiv 1910.10683,
2002.05202, 2104.08691): float64, one example at a time, without padding.
"""

import dataclasses
import math

import flax.traverse_util
import jax
import numpy as np
import pytest

from prompt_tuning_recycling import network
from prompt_tuning_recycling.standalone import parameters

pytestmark = pytest.mark.slow

CONFIG = network.T5Config(
    vocab_size=40,
    emb_dim=12,
    num_heads=3,
    num_encoder_layers=2,
    num_decoder_layers=2,
    head_dim=5,
    mlp_dim=20,
    prompt_length=4,
)
T5_1_0 = dataclasses.replace(
    CONFIG, mlp_activations=("relu",), logits_via_embedding=True
)
VARIANTS = {
    "T5 1.1 with a prompt": CONFIG,
    "T5 1.1": dataclasses.replace(CONFIG, prompt_length=0),
    "T5 1.0": dataclasses.replace(T5_1_0, prompt_length=0),
    "T5 1.0 with a prompt": T5_1_0,
    "attention in float32": dataclasses.replace(CONFIG, float32_attention_logits=True),
}
# Long enough that positions of the encoder share buckets. The shorter texts are padded.
INPUT_LENGTHS, TARGET_LENGTHS = (30, 11, 1), (20, 5, 20)


def bucket(query, key, bidirectional):
    """Which of 32 buckets a pair of positions is in (arXiv 1910.10683, section 2.1).

    The first `exact` buckets are for one distance each. The k-th bucket after them
    begins at the distance exact * (128 / exact)^(k / exact), which is compared here in
    whole numbers.
    """
    count, offset = 32, 0
    distance = query - key
    if bidirectional:
        count = 16
        offset = 16 if key > query else 0
        distance = abs(distance)
    distance = max(distance, 0)
    exact = count // 2
    if distance < exact:
        return offset + distance
    k = 0
    while distance**exact * exact**k >= exact**exact * 128**k:
        k += 1
    return offset + min(exact + k - 1, count - 1)


class PlainT5:
    def __init__(self, config, params):
        self.config = config
        self.params = {name: array.astype(np.float64) for name, array in params.items()}

    def logits(self, inputs, shifted):
        """The targets' logits [targets, vocab] of one example without padding."""
        encoded = self.encoded(inputs)
        x = self.params["token_embedder/embedding"][shifted]
        for index in range(self.config.num_decoder_layers):
            name = f"decoder/layers_{index}"
            y = self.normed(f"{name}/pre_self_attention_layer_norm", x)
            bias = self.bias("decoder", len(x), bidirectional=False)
            later = np.triu(np.full((len(x), len(x)), -np.inf), k=1)
            x = x + self.attention(f"{name}/self_attention", y, y, bias + later)
            y = self.normed(f"{name}/pre_cross_attention_layer_norm", x)
            attention = f"{name}/encoder_decoder_attention"
            x = x + self.attention(attention, y, encoded, 0.0)
            y = self.normed(f"{name}/pre_mlp_layer_norm", x)
            x = x + self.feed_forward(f"{name}/mlp", y)
        x = self.normed("decoder/decoder_norm", x)
        if self.config.logits_via_embedding:
            return x @ self.params["token_embedder/embedding"].T / math.sqrt(x.shape[1])
        return x @ self.params["decoder/logits_dense/kernel"]

    def encoded(self, inputs):
        x = self.params["token_embedder/embedding"][inputs]
        if self.config.prompt_length:
            x = np.concatenate([self.params["encoder/prompt/prompt/prompt"], x])
        bias = self.bias("encoder", len(x), bidirectional=True)
        for index in range(self.config.num_encoder_layers):
            name = f"encoder/layers_{index}"
            y = self.normed(f"{name}/pre_attention_layer_norm", x)
            x = x + self.attention(f"{name}/attention", y, y, bias)
            y = self.normed(f"{name}/pre_mlp_layer_norm", x)
            x = x + self.feed_forward(f"{name}/mlp", y)
        return self.normed("encoder/encoder_norm", x)

    def bias(self, stack, length, bidirectional):
        table = self.params[f"{stack}/relpos_bias/rel_embedding"]
        buckets = [
            [bucket(query, key, bidirectional) for key in range(length)]
            for query in range(length)
        ]
        return table[:, buckets]

    def attention(self, name, queries_from, keys_from, bias):
        query, key, value = (
            (x @ self.params[f"{name}/{part}/kernel"]).reshape(
                len(x), self.config.num_heads, self.config.head_dim
            )
            for part, x in [
                ("query", queries_from),
                ("key", keys_from),
                ("value", keys_from),
            ]
        )
        weights = np.exp(np.einsum("qhd,khd->hqk", query, key) + bias)
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, value)
        return mixed.reshape(len(mixed), -1) @ self.params[f"{name}/out/kernel"]

    def feed_forward(self, name, x):
        if self.config.mlp_activations == ("relu",):
            hidden = np.maximum(x @ self.params[f"{name}/wi/kernel"], 0)
        else:
            gate = x @ self.params[f"{name}/wi_0/kernel"]
            # T5 1.1 was trained with GELU's approximation by tanh (arXiv 1606.08415).
            cubic = math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)
            gate = gate / 2 * (1 + np.tanh(cubic))
            hidden = gate * (x @ self.params[f"{name}/wi_1/kernel"])
        return hidden @ self.params[f"{name}/wo/kernel"]

    def normed(self, name, x):
        size = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)
        return x / size * self.params[f"{name}/scale"]


def random_parameters(config):
    rng = np.random.default_rng(0)
    return {
        name: (0.4 * rng.normal(size=shape)).astype(np.float32)
        for name, shape in parameters.shapes(network.Transformer(config)).items()
    }


def texts(lengths, rng):
    tokens = rng.integers(1, 40, size=(len(lengths), max(lengths)))
    return np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], tokens, 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_those_of_the_plain_computation(variant):
    config = VARIANTS[variant]
    params = random_parameters(config)
    rng = np.random.default_rng(1)
    inputs, targets = texts(INPUT_LENGTHS, rng), texts(TARGET_LENGTHS, rng)
    shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    module = network.Transformer(config)
    found = jax.jit(lambda *batch: module.apply(*batch, enable_dropout=False))(
        {"params": flax.traverse_util.unflatten_dict(params, sep="/")},
        inputs,
        shifted,
        targets,
    )
    plain = PlainT5(config, params)
    lengths = zip(INPUT_LENGTHS, TARGET_LENGTHS, strict=True)
    for example, (input_length, target_length) in enumerate(lengths):
        expected = plain.logits(
            inputs[example, :input_length], shifted[example, :target_length]
        )
        np.testing.assert_allclose(
            found[example, :target_length], expected, atol=2e-5 * abs(expected).max()
        )


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_of_relative_positions_are_exact(bidirectional):
    length = 300
    expected = [
        [bucket(query, key, bidirectional) for key in range(length)]
        for query in range(length)
    ]
    found = network.relative_position_buckets(length, bidirectional)
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == set(range(32)) - ({16} if bidirectional else set())
