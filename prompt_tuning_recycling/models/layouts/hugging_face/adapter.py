"""Prompts that PEFT saved as adapters.

Names: https://github.com/huggingface/peft, src/peft/peft_model.py and
src/peft/tuners/{prompt_tuning,p_tuning,multitask_prompt_tuning}.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import adapter_config
from prompt_tuning_recycling.models.adapter_config import AdapterConfig
from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout
from prompt_tuning_recycling.models.parts import Part, Task

PROMPT = "prompt_embeddings"
"""The name of a prompt, [rows, width]."""

_COLUMNS, _ROWS = "prefix_task_cols", "prefix_task_rows"


class Adapter(Layout):
    """A prompt without a model.

    Attributes:
      config: the adapter's description.
      task: which of several tasks the prompt is for, if that was said.
    """

    usual_prompt = PROMPT

    def __init__(
        self, checkpoint: Checkpoint, config: AdapterConfig, task: int | None = None
    ) -> None:
        """Checks the tensors' names and shapes against the description.

        Raises:
          RecyclingError: they do not fit.
        """
        self.config, self.task = config, task
        _check_tensors(checkpoint, config)

    def matches(self, checkpoint: Checkpoint) -> bool:
        return PROMPT in checkpoint.keys()

    def embeddings(self, checkpoint: Checkpoint) -> str:
        raise RecyclingError(
            f"{checkpoint.path} is an adapter: it holds a prompt, but no embedding "
            "table. Give the folder of the model that it is for."
        )

    def prompts(self, checkpoint: Checkpoint) -> Mapping[str, str]:
        if self.config.tasks and self.task is None:
            raise RecyclingError(
                f"{checkpoint.path} holds prompts for {self.config.tasks} tasks. Say "
                f"for which one: --task=0 to --task={self.config.tasks - 1}, in gin "
                "PROMPT_TASK."
            )
        return {self.config.site: PROMPT}

    def part(self, name: str) -> Part | None:
        config = self.config
        if name != PROMPT or (config.stored_rows == config.length and not config.tasks):
            return None
        task = None if self.task is None else Task(self.task, _COLUMNS, _ROWS)
        return Part(config.length, task, self._note())

    def of_task(self, checkpoint: Checkpoint, task: int) -> Layout:
        tasks = self.config.tasks
        if not tasks:
            return super().of_task(checkpoint, task)
        if not 0 <= task < tasks:
            raise RecyclingError(
                f"{checkpoint.path} holds prompts for the tasks 0 to {tasks - 1}, but "
                f"task {task} was asked for (--task, in gin PROMPT_TASK)."
            )
        return Adapter(checkpoint, self.config, task)

    def site(self, checkpoint: Checkpoint) -> str | None:
        return self.config.site

    def base(self) -> os.PathLike:
        return self.config.base_folder()

    def _note(self) -> str | None:
        if self.config.stored_rows == self.config.length:
            return None
        if not self.config.tasks:
            return "PEFT uses only these, before the encoder's inputs"
        return (
            "PEFT generates with only these, before the encoder's inputs; while it "
            "tunes, it puts the others before the decoder's"
        )


def _check_tensors(checkpoint: Checkpoint, config: AdapterConfig) -> None:
    names = checkpoint.keys()
    width = config.width
    if width is None and PROMPT in names:
        width = (*checkpoint.shape(PROMPT), 0)[1]
    expected: dict[str, tuple[int | None, ...]] = {PROMPT: (config.stored_rows, width)}
    if config.tasks:
        expected[_COLUMNS] = (config.tasks, config.stored_rows, config.rank)
        expected[_ROWS] = (config.tasks, config.rank, width)
    for name, shape in expected.items():
        if name not in names:
            listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise RecyclingError(
                f"{checkpoint.path}: expected the tensor {name} of an adapter of "
                f"{config.kind}, found {listed or 'no tensors'}. Save or download the "
                "adapter again."
            )
        if checkpoint.shape(name) != shape:
            raise RecyclingError(
                f"{checkpoint.path}: by {adapter_config.NAME}, {name} has the shape "
                f"{list(shape)}, but it has {list(checkpoint.shape(name))}. Do the two "
                "files belong together? Save or download the adapter again."
            )
