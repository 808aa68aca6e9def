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
from prompt_tuning_recycling.t5x_host import held_folder
from prompt_tuning_recycling.t5x_host.processes import on_process_zero


@gin.register(module="prompt_tuning_recycling.t5x_host.export")
@dataclasses.dataclass(frozen=True)
class ExportPrompts:
    """A T5X save transformation. It leaves the state as it is, and process 0 writes the
    state's prompts to `MODEL_DIR/numpy_checkpoints/checkpoint_<step>/`.

    Orbax and legacy checkpointers both run it before they write. A run that is killed
    in between leaves an export without its checkpoint, and the resumed run replaces it.

    Attributes:
      model_dir: the run's folder.
      patterns: regular expressions for the names of the parameters to export.
    """

    model_dir: epath.PathLike
    patterns: Sequence[str] = PROMPT_REGEX

    def __call__(
        self, state_dict: dict[str, Any], parameter_infos: Any
    ) -> tuple[dict[str, Any], Any]:
        """Exports the prompts, and returns the arguments unchanged.

        Raises:
          RecyclingError: the prompts cannot be written, or another run has taken
            over the folder. All processes raise it.
        """
        target = core.unfreeze(state_dict["target"])
        prompts = {
            name: _whole(array)
            for name, array in traverse_util.flatten_dict(target, sep="/").items()
            if matches(name, self.patterns)
        }
        if prompts:
            step = int(_whole(state_dict["state"]["step"]))

            def export() -> None:
                held_folder.check(self.model_dir)
                export_prompts(self.model_dir, step, prompts)

            on_process_zero(export)
        return state_dict, parameter_infos


def _whole(array: Any) -> np.ndarray:
    """Returns an array on the host, gathered if it is spread over several processes."""
    if hasattr(array, "get"):
        # The legacy checkpointer passes arrays that are fetched on demand.
        array = array.get()
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        if array.is_fully_replicated:
            array = array.addressable_data(0)
        else:
            array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)
