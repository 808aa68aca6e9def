"""The interface of every layout."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.parts import Part


@dataclasses.dataclass(frozen=True)
class Parameter:
    """How a checkpoint stores a parameter of `network`.

    Attributes:
      name: its name in the checkpoint.
      transposed: whether the stored matrix is the transpose of the network's.
      scale: the factor that makes the stored numbers the network's.
    """

    name: str
    transposed: bool = False
    scale: float = 1.0


class Layout(abc.ABC):
    """What the names of a checkpoint's parameters mean.

    A layout only names parameters; it reads none. The checkpoint may lack a parameter
    that a layout names; reading it then raises an error.

    Attributes:
      usual_prompt: the usual name of a model's prompt, for messages.
    """

    usual_prompt: ClassVar[str]

    @property
    def title(self) -> str:
        """What people call it."""
        return type(self).__name__

    @abc.abstractmethod
    def matches(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint has this layout."""

    @abc.abstractmethod
    def embeddings(self, checkpoint: Checkpoint) -> str:
        """Returns the name of the token embedding table, [vocabulary, width].

        Raises:
          RecyclingError: the layout cannot tell which of several it is.
        """

    def scale(self, width: int) -> float:
        """Returns the factor by which the model multiplies embeddings before the prompt
        joins them.

        Args:
          width: the width of the embeddings.
        """
        del width
        return 1.0

    def prompts(self, checkpoint: Checkpoint) -> Mapping[str, str]:
        """Returns the names of the prompts, each [length, width], by their sites; none
        for checkpoints that never hold prompts.
        """
        del checkpoint
        return {}

    def part(self, name: str) -> Part | None:
        """Returns what the model uses of a stored prompt; None if it uses all of it.

        Args:
          name: the prompt's name.
        """
        del name
        return None

    def site(self, checkpoint: Checkpoint) -> str | None:
        """Returns where a prompt of this model is: `encoder` in an encoder-decoder,
        `decoder` in a decoder, or None if that is not known.
        """
        del checkpoint
        return None

    def base(self) -> os.PathLike | None:
        """Returns the folder of the model that this is an addition to; None if it is a
        model itself.

        Raises:
          RecyclingError: it is an addition, but its model is not found.
        """
        return None

    def of_task(self, checkpoint: Checkpoint, task: int) -> Layout:
        """Returns the layout with the prompt of one task, where several tasks share a
        prompt.

        Raises:
          RecyclingError: there are no tasks, or not this one.
        """
        raise RecyclingError(
            f"{checkpoint.path} holds no prompts of several tasks, but task {task} was "
            "asked for. Leave out --task, in gin PROMPT_TASK."
        )

    def parameters(self, checkpoint: Checkpoint) -> Mapping[str, Parameter]:
        """Returns the model's parameters, prompts included, by the names that `network`
        gives them (`encoder/encoder_norm/scale`); none for models that `network` is
        not.
        """
        del checkpoint
        return {}

    def network_sizes(self, checkpoint: Checkpoint) -> Mapping[str, Any] | None:
        """Returns what the model's own configuration says about `network.T5Config`, by
        the names of its attributes, or None if the checkpoint has no configuration.

        Raises:
          RecyclingError: `network` cannot be that model.
        """
        del checkpoint
        return None

    def step(self, checkpoint: Checkpoint) -> str | None:
        """Returns the name of the array with the number of training steps, or None."""
        del checkpoint
        return None
