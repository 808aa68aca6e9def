"""Exports the prompts of every step that T5X saves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import gin
import jax
import numpy as np
from etils import epath
from flax import core, traverse_util
from jax.experimental import multihost_utils

from prompt_tuning_recycling.prompts.export import (
    PROMPT_REGEX,
    export_prompts,
    matches,
)
from prompt_tuning_recycling.t5x_host.processes import from_process_zero


@gin.register(module="prompt_tuning_recycling.t5x_host.export")
@dataclasses.dataclass(frozen=True)
class ExportPrompts:
    """A save transformation of T5X's, which leaves the state as it is and writes its
    prompts to `MODEL_DIR/numpy_checkpoints/checkpoint_<step>/`, on process 0.

    Orbax and legacy checkpoints both run it, before they write: a run that is killed
    in between leaves an export without its checkpoint, which the resumed run
    replaces.

    Attributes:
      model_dir: the run's folder.
      patterns: regular expressions for the names of the parameters to export.
    """

    model_dir: epath.PathLike
    patterns: Sequence[str] = PROMPT_REGEX

    def __call__(
        self, state_dict: dict[str, Any], parameter_infos: Any
    ) -> tuple[dict[str, Any], Any]:
        """Exports the prompts; returns what it was given.

        Raises:
          RecyclingError: they cannot be written. All processes raise it.
        """
        target = core.unfreeze(state_dict["target"])
        prompts = {
            name: _whole(array)
            for name, array in traverse_util.flatten_dict(target, sep="/").items()
            if matches(name, self.patterns)
        }
        if prompts:
            step = int(_whole(state_dict["state"]["step"]))

            def export() -> np.ndarray:
                export_prompts(self.model_dir, step, prompts)
                return np.zeros(0)

            from_process_zero(export)
        return state_dict, parameter_infos


def _whole(array: Any) -> np.ndarray:
    """The array on the host, gathered from all processes if it is spread over them."""
    if hasattr(array, "get"):
        # The legacy checkpointer hands over arrays that are fetched when asked for.
        array = array.get()
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        if array.is_fully_replicated:
            array = array.addressable_data(0)
        else:
            array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)
