"""Decoders: Llama, Mistral, Qwen, GPT-2, GPT-NeoX (Pythia), OPT and Gemma, also as the
text part of a multimodal model.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout
from prompt_tuning_recycling.models.layouts.hugging_face.tables import find_table

_GEMMA = (
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma3n",
    "gemma3n_text",
    "gemma4",
    "gemma4_text",
)
_LLAMA = (
    "llama",
    "llama4_text",
    "mllama_text_model",
    "mistral",
    "mistral4",
    "ministral",
    "ministral3",
    "mixtral",
    "qwen2",
    "qwen2_moe",
    "qwen2_vl",
    "qwen2_vl_text",
    "qwen2_5_vl",
    "qwen2_5_vl_text",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_vl_text",
    "qwen3_vl_moe_text",
    "qwen3_5_text",
    "qwen3_5_moe_text",
)

ENDINGS: Mapping[str, str] = types.MappingProxyType(
    {
        **dict.fromkeys((*_LLAMA, *_GEMMA), "embed_tokens.weight"),
        "opt": "decoder.embed_tokens.weight",
        "gpt2": "wte.weight",
        "qwen": "wte.weight",
        "gpt_neox": "embed_in.weight",
    }
)
"""`model_type` -> how the embedding table's name ends."""


class HuggingFaceDecoder(Layout):
    """A decoder. Where its embeddings are narrower than its layers (OPT 350M), prompts
    are as wide as the embeddings.

    Attributes:
      model_type: its kind, one of `ENDINGS`.
    """

    usual_prompt = "prompt_embeddings"

    def __init__(self, model_type: str) -> None:
        self.model_type = model_type

    @property
    def title(self) -> str:
        return f"decoder of Hugging Face, {self.model_type}"

    def matches(self, checkpoint: Checkpoint) -> bool:
        ending = f".{ENDINGS[self.model_type]}"
        return any(f".{name}".endswith(ending) for name in checkpoint.keys())

    def embeddings(self, checkpoint: Checkpoint) -> str:
        ending = ENDINGS[self.model_type]
        return find_table(checkpoint, [ending], f"model_type {self.model_type!r}")

    def scale(self, width: int) -> float:
        # Gemma multiplies embeddings before a prompt joins them.
        return math.sqrt(width) if self.model_type in _GEMMA else 1.0

    def site(self, checkpoint: Checkpoint) -> str | None:
        return "decoder"
