"""Puts the prompt that the gin files declare into the state that T5X restores.

`utils.RestoreCheckpointConfig.state_transformation_fns` is the only place in T5X that
runs once, outside any trace, and only when a run begins.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gin
import numpy as np
from etils import epath
from flax import traverse_util
from t5x import state_utils

from prompt_tuning_recycling import contract, initial_prompts, run_folder
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import absolute
from prompt_tuning_recycling.kept_prompts import Keeping, make_prompts
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.models.floats import digest
from prompt_tuning_recycling.models.layouts.t5x import OPTIMIZER, PARAMETERS
from prompt_tuning_recycling.prompts.export import PROMPT_REGEX, matches
from prompt_tuning_recycling.t5x_host import finished_work, held_folder
from prompt_tuning_recycling.t5x_host.matching import check_network
from prompt_tuning_recycling.t5x_host.processes import (
    from_process_zero,
    on_process_zero,
)
from prompt_tuning_recycling.t5x_host.steps import restored_now


@gin.register(module="prompt_tuning_recycling.t5x_host.restore")
@dataclasses.dataclass(frozen=True)
class AddPrompt:
    """A T5X restore transformation. It turns the checkpoint of a model without a prompt
    into that of the model with one.

    The prompt is the one that `initial_prompts.initial_prompt` declares. It is made
    on process 0, and is the same to the bit on all processes. A resumed run makes no
    prompt, and what the prompt was made from no longer has to exist; but the gin files
    must declare what the run was started with. Optimizer states that the checkpoint
    lacks start at zero.

    Attributes:
      checkpoint_path: the checkpoint that is restored; RestoreCheckpointConfig's path.
      output_dir: the run's folder, in which process 0 keeps a recycled prompt.
      default: what a prompt starts from if nothing is declared; None if the checkpoint
        must hold a prompt in that case.
      patterns: regular expressions for the names of the parameters that are prompts.
      is_training: whether the run writes checkpoints to `output_dir`. If so, what it
        was started with is recorded there, and no second run may use the folder.
      step_path: the step that is restored, if `checkpoint_path` is a `MODEL_DIR`;
        `checks` sets it.
      restores_all: whether T5X restores all steps of `checkpoint_path`, one after the
        other; `checks` sets it. The prompt of each step is kept by itself.
    """

    checkpoint_path: epath.PathLike
    output_dir: epath.PathLike
    default: initial_prompts.InitialPrompt | None = None
    patterns: Sequence[str] = PROMPT_REGEX
    is_training: bool = False
    step_path: epath.PathLike | None = None
    restores_all: bool = False

    def __call__(
        self,
        checkpoint_state: Mapping[str, Any],
        train_state: Mapping[str, Any],
        *,
        is_resuming: bool = False,
    ) -> Mapping[str, Any]:
        """Returns the checkpoint's state with the prompt in it.

        Args:
          checkpoint_state: the checkpoint's state: nested arrays and references.
          train_state: the model's state: nested shapes.
          is_resuming: whether this run has saved a step before.

        Raises:
          RecyclingError: the prompt cannot be made, or there is one where none was
            expected or the reverse, or the run was started with another. All processes
            raise it.
        """
        if is_resuming:
            on_process_zero(self._resume)
            return checkpoint_state
        stored = state_utils.flatten_state_dict(checkpoint_state)
        expected = state_utils.flatten_state_dict(train_state)
        if self.step_path is not None:
            _check_same_step(self.step_path)
        shapes = {
            name.removeprefix(PARAMETERS): tuple(leaf.shape)
            for name, leaf in expected.items()
            if self._is_prompt(name)
        }
        missing = [name for name in shapes if PARAMETERS + name not in stored]
        made: dict[str, np.ndarray] = {}

        def begin() -> None:
            made.update(self._begin(shapes, missing, expected, stored))

        on_process_zero(begin)
        for name in missing:
            stored[PARAMETERS + name] = from_process_zero(
                functools.partial(made.__getitem__, name)
            )
        for name, leaf in expected.items():
            if name.startswith(OPTIMIZER) and name not in stored:
                stored[name] = np.zeros(leaf.shape, leaf.dtype)
                # Of a parameter without states, T5X may have stored an empty one.
                stored.pop(name.rpartition("/")[0], None)
        return traverse_util.unflatten_dict(stored, sep="/")

    def keeping(self, step: Model | None = None) -> Keeping:
        """Returns where prompts are kept: for one of several steps, or for the only
        one.
        """
        return Keeping(self.output_dir, None if step is None else step.path.name)

    def _is_prompt(self, name: str) -> bool:
        return name.startswith(PARAMETERS) and matches(
            name.removeprefix(PARAMETERS), self.patterns
        )

    def _begin(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        missing: Sequence[str],
        expected: Mapping[str, Any],
        stored: Collection[str],
    ) -> Mapping[str, np.ndarray]:
        """Makes the prompts that the state lacks; for process 0."""
        path = self.step_path or self.checkpoint_path
        model = open_model(restored_now() if self.restores_all else path)
        kinds = contract.prompts_to_make(
            shapes,
            {
                name: array.shape
                for name, array in model.parameters.items()
                if matches(name, self.patterns)
            },
            initial_prompts.initial_prompt(),
            self.default,
            str(model.path),
        )
        hidden = [name for name in missing if name not in kinds]
        if hidden:
            raise RecyclingError(
                f"{model.path} holds a prompt, {hidden[0]}, but an assignment_map "
                "drops it. Set utils.RestoreCheckpointConfig.assignment_map = None to "
                "use it."
            )
        check_network(
            model,
            {name.removeprefix(PARAMETERS) for name in stored},
            {
                name.removeprefix(PARAMETERS): leaf.shape
                for name, leaf in expected.items()
                if name.startswith(PARAMETERS) and not self._is_prompt(name)
            },
        )
        if self.is_training:
            held_folder.hold(self.output_dir)
        keeping = self.keeping(model if self.restores_all else None)
        made = make_prompts(kinds, shapes, model, keeping)
        if not self.is_training and not self.restores_all:
            results_of = _described(model, shapes, made)
            finished_work.keep_only_of(self.output_dir, results_of)
        if self.is_training:
            start = run_folder.Start.of(model.step, self.checkpoint_path, kinds)
            run_folder.write_start(self.output_dir, start)
        return made

    def _resume(self) -> None:
        """Checks that a resumed run is the one that was started; for process 0."""
        if self.is_training:
            held_folder.hold(self.output_dir)
            start = run_folder.read_start(self.output_dir)
            # A run that was started with other gin files has no record.
            if start is not None:
                declared = initial_prompts.initial_prompt()
                start.check(self.checkpoint_path, declared, self.default)


def _check_same_step(path: epath.PathLike) -> None:
    """Raises RecyclingError if this process restores another step than process 0."""
    here = os.fspath(path).encode()
    there = from_process_zero(lambda: np.frombuffer(here, np.uint8)).tobytes()
    if here != there:
        raise RecyclingError(
            f"this process restores {here.decode()}, and process 0 {there.decode()}: a "
            "step was added while they started. Name one step as "
            "INITIAL_CHECKPOINT_PATH, or start them again."
        )


def _described(
    model: Model, prompts: Collection[str], made: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Describes a model and its prompts, JSON-compatible."""
    name = model.embeddings.name
    return {
        "model": absolute(model.path),
        "fingerprint": model.checkpoint.fingerprint(name),
        "prompts": {
            prompt: digest(made[prompt])
            if prompt in made
            else model.checkpoint.fingerprint(PARAMETERS + prompt)
            for prompt in prompts
        },
    }
