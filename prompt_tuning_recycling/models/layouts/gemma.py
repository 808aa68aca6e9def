"""Gemma's own checkpoints, of all its versions.

The releases keep the parameters in `transformer/`, the library's trainer in `params/`,
its `save_params` under their bare names. The embedder multiplies embeddings by the
square root of the width.
Names: gemma, gm/ckpts/_checkpoint.py and gm/nn/_modules.py.
"""

from __future__ import annotations

import math
import re

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout

_TABLE = re.compile(r"(params/)?(transformer/)?embedder/input_embedding")


class Gemma(Layout):
    """A decoder that Gemma's own library saved."""

    usual_prompt = "that is a prompt, which Gemma has none of"

    def matches(self, checkpoint: Checkpoint) -> bool:
        return any(map(_TABLE.fullmatch, checkpoint.keys()))

    def embeddings(self, checkpoint: Checkpoint) -> str:
        return next(filter(_TABLE.fullmatch, checkpoint.keys()))

    def scale(self, width: int) -> float:
        return math.sqrt(width)

    def site(self, checkpoint: Checkpoint) -> str | None:
        return "decoder"

    def step(self, checkpoint: Checkpoint) -> str | None:
        return "step" if "step" in checkpoint.keys() else None
