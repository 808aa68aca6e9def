"""The sizes of a network, told from the shapes of its parameters."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.network.config import T5Config

# The number of a layer in the name of one of its parameters.
_LAYER = r"{stack}/layers_(\d+)/"


def resized(
    module: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    prompt_length: int,
    where: str,
    declared: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Returns the same kind of network with the sizes of a checkpoint.

    Args:
      module: a `Transformer`, whose other options are kept.
      shapes: name -> shape of each of the checkpoint's parameters.
      prompt_length: how many vectors the new network's prompt has.
      where: the checkpoint, for messages.
      declared: what the checkpoint's own configuration says, by the names of
        `T5Config`'s attributes, if it has one.

    Raises:
      RecyclingError: the network is not this package's, or the checkpoint does not
        belong to such a network.
    """
    config: Any = getattr(module, "config", None)
    if not isinstance(config, T5Config):
        raise RecyclingError(
            f"the sizes of {where} are unknown: the model is not this package's "
            "network. Let that model write its scores (see `teach`), and give them "
            "as TEACHER_SCORES."
        )
    try:
        sizes = {**told_sizes(shapes, config), **(declared or {})}
    except KeyError as error:
        raise RecyclingError(
            f"the sizes of {where} cannot be told: expected the parameters of a T5 "
            f"network, found none named {error}. Let that model write its scores (see "
            "`teach`), and give them as TEACHER_SCORES."
        ) from error
    return module.clone(
        config=dataclasses.replace(config, prompt_length=prompt_length, **sizes)
    )


def check_sizes(module: nn.Module, declared: Mapping[str, Any], where: str) -> None:
    """Raises RecyclingError if a network is not what a checkpoint's own configuration
    says.

    Args:
      module: the network. Only this package's own is checked.
      declared: as for `resized`.
      where: the checkpoint, for the message.
    """
    config: Any = getattr(module, "config", None)
    if not isinstance(config, T5Config):
        return
    wrong = [name for name, value in declared.items() if getattr(config, name) != value]
    if wrong:
        theirs = ", ".join(f"{name} = {declared[name]!r}" for name in wrong)
        ours = ", ".join(f"{getattr(config, name)!r}" for name in wrong)
        raise RecyclingError(
            f"the configuration of {where} says {theirs}, but the model file says "
            f"{ours}. Name the model file for this checkpoint, or none: then its "
            "configuration says the sizes."
        )


def told_sizes(
    shapes: Mapping[str, tuple[int, ...]], config: T5Config
) -> dict[str, Any]:
    """Returns what shapes tell about a network, by the names of `T5Config`'s
    attributes.

    Args:
      shapes: name -> shape of each of its parameters.
      config: tells the activations, which no shape does, unless it has another number
        of branches.

    Raises:
      KeyError: a parameter that every such network has is missing.
    """
    vocab_size, emb_dim = shapes["token_embedder/embedding"]
    num_heads = shapes["encoder/relpos_bias/rel_embedding"][0]
    all_heads = shapes["encoder/layers_0/attention/query/kernel"][1]
    gated = "encoder/layers_0/mlp/wi_0/kernel" in shapes
    mlp = shapes[f"encoder/layers_0/mlp/{'wi_0' if gated else 'wi'}/kernel"]
    sizes: dict[str, Any] = {
        "vocab_size": vocab_size,
        "emb_dim": emb_dim,
        "num_heads": num_heads,
        "head_dim": all_heads // num_heads,
        "mlp_dim": mlp[1],
        "num_encoder_layers": _layers(shapes, "encoder"),
        "num_decoder_layers": _layers(shapes, "decoder"),
        "logits_via_embedding": "decoder/logits_dense/kernel" not in shapes,
    }
    if gated != (len(config.mlp_activations) > 1):
        sizes["mlp_activations"] = ("gelu", "linear") if gated else ("relu",)
    return sizes


def _layers(shapes: Mapping[str, tuple[int, ...]], stack: str) -> int:
    matches = (re.match(_LAYER.format(stack=stack), name) for name in shapes)
    numbers = [int(match[1]) for match in matches if match]
    if not numbers:
        raise KeyError(f"{stack}/layers_0")
    return max(numbers) + 1
