"""A single array, which serves as an embedding table or as a prompt."""

from __future__ import annotations

from collections.abc import Mapping

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.formats.numpy_file import ArrayInMemory
from prompt_tuning_recycling.models.layouts.base import Layout


class SingleArray(Layout):
    """A numpy file, or an array in memory."""

    usual_prompt = "of any name"

    @property
    def title(self) -> str:
        return "a single array"

    def matches(self, checkpoint: Checkpoint) -> bool:
        return isinstance(checkpoint, ArrayInMemory)

    def embeddings(self, checkpoint: Checkpoint) -> str:
        return checkpoint.keys()[0]

    def prompts(self, checkpoint: Checkpoint) -> Mapping[str, str]:
        # A single array does not say where in a model it belongs.
        return {"encoder": checkpoint.keys()[0]}
