"""What transformers calls the parameters of `network`, and how its configuration says
what `network.T5Config` says: the other direction of `t5`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prompt_tuning_recycling.models.layouts.hugging_face.t5 import (
    ACTIVATIONS,
    FIXED,
    LAYERS,
    LOGITS,
    PARTS,
    POSITIONS,
    SIZES,
    TABLES,
)

EMBEDDING = "token_embedder/embedding"
"""`network`'s name of the embedding table, [vocabulary, width]."""

OUTPUT = "decoder/logits_dense/kernel"
"""`network`'s name of the output layer, [width, vocabulary]."""

_KERNEL = re.compile(r"(encoder|decoder)/layers_(\d+)/(\w+)/(\w+)/kernel")
_NORM = re.compile(r"(encoder|decoder)/layers_(\d+)/(\w+)/scale")
_NUMBERS = {
    (stack, name): number for (stack, number), names in LAYERS.items() for name in names
}
_MODULES = {
    "attention": "SelfAttention",
    "self_attention": "SelfAttention",
    "encoder_decoder_attention": "EncDecAttention",
    "mlp": "DenseReluDense",
}
_LETTERS = {ours: theirs for theirs, ours in PARTS.items()}


def stored_name(parameter: str) -> tuple[str, bool]:
    """Returns transformers' name of a parameter, and whether it stores the transpose.

    Args:
      parameter: `network`'s name, which is known to be one.
    """
    if parameter == EMBEDDING:
        return TABLES[0], False
    if parameter == OUTPUT:
        return LOGITS, True
    if match := _KERNEL.fullmatch(parameter):
        stack, block, layer, part = match.groups()
        place = f"{stack}.block.{block}.layer.{_NUMBERS[stack, layer]}"
        return f"{place}.{_MODULES[layer]}.{_LETTERS[part]}.weight", True
    if match := _NORM.fullmatch(parameter):
        stack, block, norm = match.groups()
        number = _NUMBERS[stack, norm]
        return f"{stack}.block.{block}.layer.{number}.layer_norm.weight", False
    stack, name = parameter.split("/", 1)
    if name == "relpos_bias/rel_embedding":
        return f"{stack}.{POSITIONS}", True
    return f"{stack}.final_layer_norm.weight", False


def configuration(
    sizes: Mapping[str, Any], *, divides: bool, has_output: bool, dtype: str
) -> dict[str, Any]:
    """Returns a model's `config.json`.

    Args:
      sizes: the attributes of `network.T5Config`.
      divides: whether the decoder's output is divided by the square root of its width,
        as in T5 1.0.
      has_output: whether the output layer is stored.
      dtype: the dtype of the embedding table.
    """
    activation = activation_name(sizes["mlp_activations"])
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        **{theirs: sizes[ours] for theirs, ours in SIZES.items()},
        "feed_forward_proj": activation,
        **FIXED,
        "dropout_rate": 0.1,
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "tie_word_embeddings": not has_output,
        "scale_decoder_outputs": divides,
        "use_cache": True,
        **tokens(),
        "dtype": dtype,
        # The name before version 5 of transformers.
        "torch_dtype": dtype,
    }


def activation_name(branches: tuple[str, ...]) -> str:
    """Returns what transformers calls the activations of a feed-forward layer.

    Raises:
      KeyError: it has no such layer.
    """
    return {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}[branches]


def tokens() -> dict[str, int]:
    """Returns the tokens with a meaning of their own in T5's vocabularies."""
    return {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
