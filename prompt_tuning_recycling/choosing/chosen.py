"""A chosen prompt, with what else could have been chosen, and their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from etils import epath

from prompt_tuning_recycling.choosing import picture
from prompt_tuning_recycling.choosing import teacher as teachers
from prompt_tuning_recycling.choosing.choice import Choice
from prompt_tuning_recycling.choosing.teacher import Teacher
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.files import as_path, write_atomically
from prompt_tuning_recycling.prompts import Prompt

FOLDER = "chosen"
"""The subfolder of a run's output that keeps a chosen prompt."""


@dataclasses.dataclass(frozen=True, eq=False)
class ChosenPrompt:
    """A prompt that was chosen, float32 [length, width].

    Attributes:
      prompt: the prompt; its record says how it was made and why it was chosen.
      candidates: name -> prompt that could have been chosen.
      choice: what each candidate was worth.
      inputs: the unlabeled inputs, without a teacher's answers.
      teacher: the teacher's answers; None if there was no teacher.
    """

    prompt: Prompt
    candidates: Mapping[str, Prompt]
    choice: Choice
    inputs: Unlabeled
    teacher: Teacher | None

    def save(self, folder: epath.PathLike) -> None:
        """Writes `prompt.npy` with its record, the picture `choice.svg`, every
        candidate, `candidates/<name>.npy`, and `teacher.json`, which another choice on
        the same inputs can use as TEACHER_SCORES.

        Raises:
          RecyclingError: a file cannot be written.
        """
        folder = as_path(folder)
        if self.teacher is not None:
            teachers.save(self.teacher, self.inputs, folder / "teacher.json")
        for name, candidate in self.candidates.items():
            candidate.save(folder / "candidates" / f"{name}.npy")
        write_atomically(folder / "choice.svg", picture.svg(self.choice).encode())
        self.prompt.save(folder / "prompt.npy")

    def publish(self, output_dir: epath.PathLike) -> None:
        """Saves to `output_dir/chosen/`, and prints what each candidate is worth.

        Raises:
          RecyclingError: a file cannot be written.
        """
        folder = as_path(output_dir) / FOLDER
        self.save(folder)
        for line in self.lines():
            print(line, flush=True)
        print(f"wrote {folder / 'prompt.npy'}", flush=True)

    def lines(self) -> list[str]:
        """Returns each candidate's value as text, the chosen one marked."""
        choice = self.choice
        return [
            f"{name:14} {choice.criterion} {values[choice.criterion]:.4f}"
            + ("  chosen" if name == choice.chosen else "")
            for name, values in choice.values.items()
        ]
