"""A small network with a prompt, two texts, and what the network computes from them."""

import functools

import flax.traverse_util
import jax
import numpy as np

from prompt_tuning_recycling import network
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


@functools.partial(jax.jit, static_argnums=0)
def encode(config, variables):
    return network.Transformer(config).apply(
        variables, INPUTS, enable_dropout=False, method="encode"
    )


def flat(variables):
    return flax.traverse_util.flatten_dict(variables["params"], sep="/")


def unflat(params):
    return {"params": flax.traverse_util.unflatten_dict(params, sep="/")}
