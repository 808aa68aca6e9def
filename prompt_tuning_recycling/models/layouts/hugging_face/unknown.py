"""Tensors whose names mean nothing to this package."""

from __future__ import annotations

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout
from prompt_tuning_recycling.models.layouts.hugging_face.tables import unknown_table


class Unknown(Layout):
    """A model of another kind. Its table has to be named, and is used as it is stored.

    Attributes:
      model_type: its kind, as its configuration calls it; None if it has none.
    """

    usual_prompt = "prompt_embeddings"

    def __init__(self, model_type: object) -> None:
        self.model_type = model_type

    @property
    def title(self) -> str:
        return f"unknown, model_type {self.model_type}"

    def matches(self, checkpoint: Checkpoint) -> bool:
        return True

    def embeddings(self, checkpoint: Checkpoint) -> str:
        why = "there is no config.json with a model_type beside it"
        if self.model_type is not None:
            why = f"its config.json has the model_type {self.model_type!r}"
        raise unknown_table(checkpoint, why)
