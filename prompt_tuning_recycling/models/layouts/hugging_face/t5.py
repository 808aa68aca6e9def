"""T5 1.0 and 1.1, FLAN, mT5, and the embeddings of umT5."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout, Parameter
from prompt_tuning_recycling.models.layouts.hugging_face.tables import find_table

TYPES = ("t5", "mt5", "umt5")
"""The `model_type`s of this layout."""

TABLES = (
    "shared.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
)
"""One table, which older files hold up to three times."""

LOGITS = "lm_head.weight"
"""The output layer, [vocabulary, width]."""

# A bias of T5 1.0 that its first code had, and nothing uses.
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"

POSITIONS = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
"""A stack's position biases, [buckets, heads]."""

_BLOCK = re.compile(
    r"(encoder|decoder)\.block\.(\d+)\.layer\.(\d)\.(?:(\w+)\.)?(\w+)\.weight"
)
PARTS = {
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "out",
    "wi": "wi",
    "wi_0": "wi_0",
    "wi_1": "wi_1",
    "wo": "wo",
}
"""The name of a matrix -> `network`'s."""

LAYERS = {
    ("encoder", "0"): ("attention", "pre_attention_layer_norm"),
    ("encoder", "1"): ("mlp", "pre_mlp_layer_norm"),
    ("decoder", "0"): ("self_attention", "pre_self_attention_layer_norm"),
    ("decoder", "1"): ("encoder_decoder_attention", "pre_cross_attention_layer_norm"),
    ("decoder", "2"): ("mlp", "pre_mlp_layer_norm"),
}
"""Stack and number of a layer within its block -> the layer, and the norm before it."""

SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "emb_dim",
    "num_heads": "num_heads",
    "d_kv": "head_dim",
    "d_ff": "mlp_dim",
    "num_layers": "num_encoder_layers",
    "num_decoder_layers": "num_decoder_layers",
}
"""A size in the configuration -> the attribute of `network.T5Config`."""

ACTIVATIONS = {
    "relu": ("relu",),
    "silu": ("silu",),
    "gelu_new": ("gelu",),
    "gated-relu": ("relu", "linear"),
    "gated-silu": ("silu", "linear"),
    "gated-gelu": ("gelu", "linear"),
    "gated-gelu_new": ("gelu", "linear"),
}
"""`feed_forward_proj` -> the activations of `network`'s branches."""

FIXED = {
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
}
"""What `network` cannot change."""


def looks_like_t5(checkpoint: Checkpoint) -> bool:
    """Whether the names alone tell that this is a T5 model."""
    return f"encoder.{POSITIONS}" in checkpoint.keys()


class HuggingFaceT5(Layout):
    """An encoder-decoder, which `network` can be.

    Attributes:
      config: its configuration; None if there is none.
    """

    usual_prompt = "prompt_embeddings"

    def __init__(self, config: Mapping[str, Any] | None) -> None:
        self.config = config

    @property
    def title(self) -> str:
        return f"T5 of Hugging Face, {self._model_type or 'without config.json'}"

    def matches(self, checkpoint: Checkpoint) -> bool:
        return looks_like_t5(checkpoint)

    def embeddings(self, checkpoint: Checkpoint) -> str:
        return find_table(checkpoint, TABLES, "a T5 model")

    def prompts(self, checkpoint: Checkpoint) -> Mapping[str, str]:
        return {}

    def parameters(self, checkpoint: Checkpoint) -> Mapping[str, Parameter]:
        table = self.embeddings(checkpoint)
        found = {"token_embedder/embedding": Parameter(table)}
        for name in checkpoint.keys():
            if name not in (table, LOGITS, _UNUSED, *TABLES):
                parameter, is_matrix = _translated(name)
                found[parameter] = Parameter(name, transposed=is_matrix)
        if (logits := self._logits(checkpoint, table)) is not None:
            found["decoder/logits_dense/kernel"] = logits
        return found

    def network_sizes(self, checkpoint: Checkpoint) -> Mapping[str, Any] | None:
        if self.config is None:
            return None
        where = f"the config.json of {checkpoint.path}"
        for key, value in FIXED.items():
            if self.config.get(key, value) != value:
                raise RecyclingError(
                    f"{where} says {key} = {self.config[key]!r}, but this package's "
                    f"network has {value!r}. Only the model's embeddings can be used."
                )
        if self._model_type == "umt5":
            raise RecyclingError(
                f"{where} says model_type = 'umt5'. Such a model has position biases "
                "in every layer, and this package's network only in the first. Only "
                "its embeddings can be used."
            )
        config = dict(self.config)
        # As the configuration's class has it.
        if config.get("num_decoder_layers") is None:
            config["num_decoder_layers"] = config.get("num_layers")
        for key in SIZES:
            if type(config.get(key)) is not int or config[key] < 1:
                raise RecyclingError(
                    f"{where} says {key} = {config.get(key)!r}. Expected a whole "
                    "number of at least 1. Is it a T5 model's configuration?"
                )
        default = "relu" if self._model_type == "t5" else "gated-gelu"
        activation = config.get("feed_forward_proj", default)
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise RecyclingError(
                f"{where} says feed_forward_proj = {activation!r}. Expected one of "
                f"{', '.join(ACTIVATIONS)}."
            )
        logits = self._logits(checkpoint, self.embeddings(checkpoint))
        return {
            **{ours: config[theirs] for theirs, ours in SIZES.items()},
            "mlp_activations": ACTIVATIONS[activation],
            "logits_via_embedding": logits is None,
        }

    def site(self, checkpoint: Checkpoint) -> str | None:
        return "encoder"

    def step(self, checkpoint: Checkpoint) -> str | None:
        return None

    @property
    def _model_type(self) -> object:
        return None if self.config is None else self.config.get("model_type")

    def _logits(self, checkpoint: Checkpoint, table: str) -> Parameter | None:
        """Returns the output layer; None if it is the embedding table, applied to
        vectors that are divided by the square root of their width.

        A table that is applied to vectors as they are is the same as a matrix of its
        own.
        """
        has_its_own = LOGITS in checkpoint.keys()
        if not self._divides():
            return Parameter(LOGITS if has_its_own else table, transposed=True)
        if not has_its_own:
            return None
        shape = checkpoint.shape(LOGITS)
        if len(shape) != 2 or 0 in shape:
            raise RecyclingError(
                f"{checkpoint.path}: expected {LOGITS} to be a matrix [vocabulary, "
                f"width], found shape {list(shape)}."
            )
        return Parameter(LOGITS, transposed=True, scale=shape[1] ** -0.5)

    def _divides(self) -> bool:
        """Whether the decoder's output is divided by the square root of its width. T5
        1.0 does this. Older configurations tell by whether the tables are tied.
        """
        if self.config is None or self._model_type == "mt5":
            return False
        tied = self.config.get("tie_word_embeddings") is not False
        return bool(self.config.get("scale_decoder_outputs", tied))


def _translated(name: str) -> tuple[str, bool]:
    """Returns `network`'s name of a tensor, and whether it is a matrix to transpose. A
    tensor that `network` lacks keeps its name.
    """
    for stack in ("encoder", "decoder"):
        if name == f"{stack}.{POSITIONS}":
            return f"{stack}/relpos_bias/rel_embedding", True
        if name == f"{stack}.final_layer_norm.weight":
            return f"{stack}/{stack}_norm/scale", False
    match = _BLOCK.fullmatch(name)
    if match is None or (match[1], match[3]) not in LAYERS:
        return name, False
    stack, block, layer, module, part = match.groups()
    layer_name, norm = LAYERS[stack, layer]
    if module is None:
        return f"{stack}/layers_{block}/{norm}/scale", False
    if part not in PARTS:
        return name, False
    return f"{stack}/layers_{block}/{layer_name}/{PARTS[part]}/kernel", True
