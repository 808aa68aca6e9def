"""MaxText's decoders.

A train state keeps them in `params/params/`, and a state of its newer networks (NNX) by
their own names, with the array in `value`. MaxText multiplies no embeddings as it reads
them: a table of Gemma is stored multiplied by the square root of its width.
Names: MaxText, checkpoint_conversion/utils and layers/embeddings.py.
"""

from __future__ import annotations

import re

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout

_TABLE = re.compile(
    r"(params/){1,2}token_embedder/embedding|(base/)?token_embedder/embedding/value"
)


class MaxText(Layout):
    """A decoder that MaxText saved, with or without the rest of its train state."""

    usual_prompt = "that is a prompt, which MaxText has none of"

    def matches(self, checkpoint: Checkpoint) -> bool:
        return any(map(_TABLE.fullmatch, checkpoint.keys()))

    def embeddings(self, checkpoint: Checkpoint) -> str:
        return next(filter(_TABLE.fullmatch, checkpoint.keys()))

    def site(self, checkpoint: Checkpoint) -> str | None:
        return "decoder"

    def step(self, checkpoint: Checkpoint) -> str | None:
        return "step" if "step" in checkpoint.keys() else None
