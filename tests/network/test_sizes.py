"""A network's sizes, told from a checkpoint."""

import dataclasses

import jax.numpy as jnp
import pytest
from flax import linen as nn

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.network import T5Config, Transformer, resized
from prompt_tuning_recycling.standalone import parameters

from ..conftest import DEMO_MODELS

SMALL = T5Config(
    vocab_size=50,
    emb_dim=12,
    num_heads=2,
    num_encoder_layers=3,
    num_decoder_layers=2,
    head_dim=5,
    mlp_dim=20,
)


def shapes_of(config):
    return parameters.shapes(Transformer(config))


def stored(name):
    model = open_model(DEMO_MODELS / name)
    return {name: array.shape for name, array in model.parameters.items()}


@pytest.mark.parametrize("name", ["source", "target-1", "target-2", "wide"])
def test_the_demos_models(name):
    found = resized(Transformer(T5Config()), stored(name), 5, name)
    expected = {
        parameter: shape
        for parameter, shape in parameters.shapes(found).items()
        if "prompt" not in parameter
    }
    assert expected == stored(name)
    assert found.config.prompt_length == 5


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        dataclasses.replace(SMALL, mlp_activations=("relu",)),
        dataclasses.replace(SMALL, logits_via_embedding=True),
        dataclasses.replace(
            SMALL, mlp_activations=("relu",), logits_via_embedding=True
        ),
        dataclasses.replace(SMALL, num_encoder_layers=12, num_decoder_layers=1),
        dataclasses.replace(SMALL, prompt_length=7),
    ],
    ids=["1.1", "relu", "shared", "1.0", "deep", "with a prompt"],
)
@pytest.mark.parametrize("like", [T5Config(), T5Config(mlp_activations=("relu",))])
def test_every_size_is_found(config, like):
    found = resized(Transformer(like), shapes_of(config), config.prompt_length, "x")
    assert found.config == config


def test_other_options_are_kept():
    like = T5Config(dtype=jnp.bfloat16, dropout_rate=0.1, embedding_scale=2.0)
    found = resized(Transformer(like), shapes_of(SMALL), 0, "x").config
    assert (found.dtype, found.dropout_rate) == (jnp.bfloat16, 0.1)
    assert found.embedding_scale == 2.0


def test_the_gates_activation_is_kept():
    like = T5Config(mlp_activations=("silu", "linear"))
    found = resized(Transformer(like), shapes_of(SMALL), 0, "x")
    assert found.config.mlp_activations == ("silu", "linear")


def test_the_given_network_is_left_as_it_is():
    like = Transformer(T5Config())
    resized(like, shapes_of(SMALL), 3, "x")
    assert like.config == T5Config()


# What it cannot do


class Foreign(nn.Module):
    """Somebody else's network."""


def test_a_foreign_network_must_write_its_scores_itself():
    with pytest.raises(RecyclingError) as error:
        resized(Foreign(), shapes_of(SMALL), 5, "/models/source")
    message = str(error.value)
    assert "the sizes of /models/source are unknown" in message
    assert "TEACHER_SCORES" in message


@pytest.mark.parametrize(
    "missing",
    [
        "token_embedder/embedding",
        "encoder/relpos_bias/rel_embedding",
        "encoder/layers_0/attention/query/kernel",
        "encoder/layers_0/mlp/wi_0/kernel",
        "decoder/layers",
    ],
)
def test_a_checkpoint_of_something_else_is_refused(missing):
    shapes = {
        name: shape
        for name, shape in shapes_of(SMALL).items()
        if not name.startswith(missing)
    }
    with pytest.raises(RecyclingError) as error:
        resized(Transformer(T5Config()), shapes, 5, "/models/source")
    message = str(error.value)
    assert "the sizes of /models/source cannot be told" in message
    assert "TEACHER_SCORES" in message


def test_a_table_alone_is_refused():
    table = {"token_embedder/embedding": (50, 12)}
    with pytest.raises(RecyclingError, match="found none named 'encoder/relpos_bias"):
        resized(Transformer(T5Config()), table, 5, "table.npy")
