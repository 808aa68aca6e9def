"""What every layout offers."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

from prompt_tuning_recycling.models.formats.base import Checkpoint


class Layout(abc.ABC):
    """What the names of a checkpoint's parameters mean.

    A layout only names parameters, and reads none. A checkpoint may lack what it names;
    whoever reads that is told so.

    Attributes:
      usual_prompt: the name of the prompt of a model that has one, for messages.
    """

    usual_prompt: ClassVar[str]

    @abc.abstractmethod
    def matches(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is of this layout."""

    @abc.abstractmethod
    def embeddings(self, checkpoint: Checkpoint) -> str:
        """Returns the name of the token embedding table, [vocabulary, width]."""

    def scale(self, width: int) -> float:
        """Returns what the model multiplies embeddings by before a prompt joins them.

        Args:
          width: of the embeddings.
        """
        del width
        return 1.0

    @abc.abstractmethod
    def prompts(self, checkpoint: Checkpoint) -> Mapping[str, str]:
        """Returns the names of the prompts, each [length, width], by their sites."""

    @abc.abstractmethod
    def parameters(self, checkpoint: Checkpoint) -> Mapping[str, str]:
        """Returns the names of the model's parameters, prompts included, by the names
        that `network` gives them (`encoder/encoder_norm/scale`).
        """

    @abc.abstractmethod
    def step(self, checkpoint: Checkpoint) -> str | None:
        """Returns the name of the number of training steps, or None."""
