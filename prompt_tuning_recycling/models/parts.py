"""The part of a stored prompt that a model uses."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.models.formats.base import Checkpoint

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Task:
    """One of the tasks that share a prompt (Wang et al. 2023, "Multitask Prompt Tuning
    Enables Parameter-Efficient Transfer Learning", https://arxiv.org/abs/2303.02861).
    Its prompt is the shared one, multiplied number by number by a matrix of low rank.

    Attributes:
      number: which of the tasks, from 0 on.
      columns: the name of an array [tasks, rows, rank].
      rows: the name of an array [tasks, rank, width]; for each task, the product of the
        two is the matrix.
    """

    number: int
    columns: str
    rows: str

    def matrix(self, checkpoint: Checkpoint) -> Float[np.ndarray, "rows width"]:
        """Returns the task's matrix, float64."""
        columns, rows = (
            checkpoint.take(name, [self.number])[0].astype(np.float64)
            for name in (self.columns, self.rows)
        )
        return columns @ rows


@dataclasses.dataclass(frozen=True)
class Part:
    """What a model uses of a stored matrix.

    Attributes:
      rows: how many of its rows, from the first one on.
      task: the task whose matrix they are multiplied by, if tasks share them.
      note: what has to be known about the rest, for reports.
    """

    rows: int
    task: Task | None = None
    note: str | None = None

    def read(self, checkpoint: Checkpoint, name: str) -> Float[np.ndarray, ...]:
        """Returns the part: of a task, as float32, otherwise in the dtype that it is
        stored in.

        Raises:
          RecyclingError: an array cannot be read completely.
        """
        array = checkpoint.take(name, np.arange(self.rows))
        if self.task is None:
            return array
        matrix = self.task.matrix(checkpoint)[: self.rows]
        return (array.astype(np.float64) * matrix).astype(np.float32)

    def described(self, stored_rows: int) -> dict[str, Any]:
        """Returns what a record says about it, JSON-compatible."""
        found: dict[str, Any] = {"rows": self.rows, "stored_rows": stored_rows}
        if self.task is not None:
            found["task"] = self.task.number
        if self.note is not None:
            found["note"] = self.note
        return found
