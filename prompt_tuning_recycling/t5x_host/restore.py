"""Puts the prompt that the gin files declare into the state that T5X restores.

`utils.RestoreCheckpointConfig.state_transformation_fns` is the only place in T5X that
runs once, outside of any trace, and only where a run begins.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gin
import numpy as np
from etils import epath
from flax import traverse_util
from t5x import state_utils

from prompt_tuning_recycling import initial_prompts
from prompt_tuning_recycling.checkpoints import EMBEDDING, Checkpoint, open_checkpoint
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.prompt_export import PROMPT_REGEX, matches
from prompt_tuning_recycling.t5x_host.processes import from_process_zero

_TARGET = "target/"
_OPTIMIZER = "state/param_states/"


@gin.register(module="prompt_tuning_recycling.t5x_host.restore")
@dataclasses.dataclass(frozen=True)
class InitialPrompt:
    """A restore transformation of T5X's: the checkpoint of a model without a prompt
    becomes that of the model with one.

    The prompt is the one that `initial_prompts.initial_prompt` declares. It is made
    on process 0, and is the same to the bit on all. Where a run is resumed, nothing
    is made, and what the run needs no longer has to exist. Optimiser states that the
    checkpoint lacks start at zero.

    Attributes:
      checkpoint_path: the checkpoint that is restored, as RestoreCheckpointConfig's.
      output_dir: of the run; keeps a recycled prompt, written by process 0 alone.
      default: what to begin with where nothing is declared; None where the checkpoint
        has to hold a prompt then.
      patterns: regular expressions for the names of the parameters that are prompts.
    """

    checkpoint_path: epath.PathLike
    output_dir: epath.PathLike
    default: initial_prompts.InitialPrompt | None = None
    patterns: Sequence[str] = PROMPT_REGEX

    def __call__(
        self,
        checkpoint_state: Mapping[str, Any],
        train_state: Mapping[str, Any],
        *,
        is_resuming: bool = False,
    ) -> Mapping[str, Any]:
        """Returns the checkpoint's state with the prompt in it.

        Args:
          checkpoint_state: of the checkpoint: nested, of arrays and references.
          train_state: of the model: nested, of shapes.
          is_resuming: whether this run has saved a step before.

        Raises:
          RecyclingError: the prompt cannot be made, or there is one where none was
            expected or the reverse. On several processes all raise it.
        """
        if is_resuming:
            return checkpoint_state
        stored = state_utils.flatten_state_dict(checkpoint_state)
        expected = state_utils.flatten_state_dict(train_state)
        prompts = self._prompts(expected)
        made = [name for name in prompts if name not in stored]
        kind = initial_prompts.initial_prompt()
        self._check(kind, stored, prompts, made)
        # One of the two is there if a prompt is made: _check has seen to that.
        start = cast(initial_prompts.InitialPrompt, kind or self.default)
        for name in made:
            make = functools.partial(self._make, start, name, expected)
            stored[name] = from_process_zero(make)
        for name, leaf in expected.items():
            if name.startswith(_OPTIMIZER) and name not in stored:
                stored[name] = np.zeros(leaf.shape, leaf.dtype)
        return traverse_util.unflatten_dict(stored, sep="/")

    def _prompts(self, state: Mapping[str, Any]) -> list[str]:
        return [
            name
            for name in state
            if name.startswith(_TARGET)
            and matches(name.removeprefix(_TARGET), self.patterns)
        ]

    def _check(
        self,
        kind: initial_prompts.InitialPrompt | None,
        stored: Mapping[str, Any],
        prompts: Sequence[str],
        made: Sequence[str],
    ) -> None:
        leftover = [name for name in self._prompts(stored) if name not in prompts]
        if leftover:
            raise RecyclingError(
                f"{self.checkpoint_path} holds a prompt, {leftover[0]}, but the model "
                "has none there. Use the model file that ends in _prompt."
            )
        if kind is None and self.default is None and made:
            raise RecyclingError(
                f"the model has a prompt, but {self.checkpoint_path} holds none. Say "
                "where it comes from: recycle_init.gin recycles one, "
                "prompts/from_file.gin takes one as it is; or give a checkpoint that "
                "was tuned."
            )
        if kind is not None and not prompts:
            raise RecyclingError(
                "the gin files declare a prompt, but the model has none. Use a model "
                "file that ends in _prompt, such as models/t5_1_1_base_prompt.gin."
            )
        if kind is not None and not made:
            raise _two_prompts(self.checkpoint_path, prompts[0])

    def _make(
        self,
        kind: initial_prompts.InitialPrompt,
        name: str,
        expected: Mapping[str, Any],
    ) -> np.ndarray:
        shape = tuple(expected[name].shape)
        checkpoint = open_checkpoint(self.checkpoint_path)
        if name in checkpoint.keys():
            # An assignment_map has hidden it from the transformation.
            raise _two_prompts(self.checkpoint_path, name)
        _check_width(checkpoint, shape, expected)
        prompt = initial_prompts.make_or_keep(
            kind, checkpoint, shape[0], self.output_dir
        )
        if prompt.shape != shape:
            raise RecyclingError(
                f"the model expects {name} of shape {list(shape)}, found "
                f"{list(prompt.shape)}, made by {kind}. Are TARGET_CHECKPOINT and "
                "INITIAL_CHECKPOINT_PATH the same model?"
            )
        return np.ascontiguousarray(prompt, np.float32)


def _two_prompts(path: epath.PathLike, name: str) -> RecyclingError:
    return RecyclingError(
        f"{path} already holds a prompt, {name}, and the gin files declare another. "
        "To use the checkpoint's own prompt, leave recycle_init.gin (or prompts/*.gin) "
        "out. To start from the declared one, give the model without a prompt as "
        "INITIAL_CHECKPOINT_PATH."
    )


def _check_width(
    checkpoint: Checkpoint, shape: tuple[int, ...], expected: Mapping[str, Any]
) -> None:
    """Before anything large is read."""
    if EMBEDDING not in expected or EMBEDDING not in checkpoint.keys():
        return
    found, wanted = checkpoint.shape(EMBEDDING), tuple(expected[EMBEDDING].shape)
    if found != wanted:
        raise RecyclingError(
            f"{checkpoint.path} has {EMBEDDING} of shape {list(found)}, but the model "
            f"expects {list(wanted)}, and a prompt of shape {list(shape)}. Is the "
            "model file (--gin_file=models/...) the one for this checkpoint?"
        )
