"""The sizes of a network, told from the shapes of its parameters."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.network.config import T5Config

_LAYER = re.compile(r"(encoder|decoder)/layers_(\d+)/")


def resized(
    module: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    prompt_length: int,
    where: str,
) -> nn.Module:
    """Returns the same kind of network with the sizes of a checkpoint.

    Args:
      module: a `Transformer`, whose other options are kept.
      shapes: name -> shape of each of the checkpoint's parameters.
      prompt_length: how many vectors the new network's prompt has.
      where: the checkpoint, for messages.

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
        sizes = _sizes(shapes, config)
    except KeyError as error:
        raise RecyclingError(
            f"the sizes of {where} cannot be told: expected the parameters of a T5 "
            f"network, found none named {error}. Let that model write its scores (see "
            "`teach`), and give them as TEACHER_SCORES."
        ) from error
    return module.clone(
        config=dataclasses.replace(config, prompt_length=prompt_length, **sizes)
    )


def _sizes(shapes: Mapping[str, tuple[int, ...]], config: T5Config) -> dict[str, Any]:
    vocab_size, emb_dim = shapes["token_embedder/embedding"]
    num_heads = shapes["encoder/relpos_bias/rel_embedding"][0]
    all_heads = shapes["encoder/layers_0/attention/query/kernel"][1]
    gated = "encoder/layers_0/mlp/wi_0/kernel" in shapes
    mlp = shapes[f"encoder/layers_0/mlp/{'wi_0' if gated else 'wi'}/kernel"]
    layers = {
        stack: 1 + max(int(n) for found, n in _layers(shapes) if found == stack)
        for stack in ("encoder", "decoder")
    }
    sizes: dict[str, Any] = {
        "vocab_size": vocab_size,
        "emb_dim": emb_dim,
        "num_heads": num_heads,
        "head_dim": all_heads // num_heads,
        "mlp_dim": mlp[1],
        "num_encoder_layers": layers["encoder"],
        "num_decoder_layers": layers["decoder"],
        "logits_via_embedding": "decoder/logits_dense/kernel" not in shapes,
    }
    if gated != (len(config.mlp_activations) > 1):
        sizes["mlp_activations"] = ("gelu", "linear") if gated else ("relu",)
    return sizes


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    found = [match.groups() for match in map(_LAYER.match, shapes) if match]
    if not {"encoder", "decoder"} <= {stack for stack, _ in found}:
        raise KeyError("encoder/layers_0 and decoder/layers_0")
    return [(stack, number) for stack, number in found]
