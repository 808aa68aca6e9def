"""A run's checkpoints, as T5X writes them through Orbax:
`MODEL_DIR/checkpoint_<step>/state/`.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    is_remote,
    reason,
    storage_errors,
)
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.models.layouts.t5x import OPTIMIZER, PARAMETERS, STEP
from prompt_tuning_recycling.models.steps import steps
from prompt_tuning_recycling.standalone.parameters import Parameters

# Old steps are renamed to here before their files are removed, so that a run that is
# killed meanwhile leaves no half of a step under a step's name.
_REMOVED = ".removed_checkpoints"


class Saver:
    """Writes steps, each under a temporary name until it is complete, and removes old
    ones.
    """

    def __init__(
        self, model_dir: epath.PathLike, keep: int | None, dtype: str = "float32"
    ) -> None:
        """Opens a run's folder, and removes what a killed run left half-written.

        Args:
          model_dir: the run's folder, which is made if it is missing.
          keep: how many of the newest steps to keep; None or 0 for all, as in T5X.
          dtype: the dtype of the saved parameters.
        """
        self._dtype = dtype
        self._removed = None if is_remote(model_dir) else as_path(model_dir) / _REMOVED
        self._empty()
        self._manager = ocp.CheckpointManager(
            os.path.abspath(model_dir)
            if "://" not in os.fspath(model_dir)
            else model_dir,
            options=ocp.CheckpointManagerOptions(
                step_prefix="checkpoint",
                max_to_keep=keep or None,
                cleanup_tmp_directories=True,
                todelete_subdir=None if self._removed is None else _REMOVED,
                enable_async_checkpointing=False,
            ),
            item_names=("state",),
        )

    def save(self, step: int, parameters: Parameters, optimizer_state: Any) -> None:
        """Writes a step, unless it exists.

        Raises:
          RecyclingError: the disk is full, or cannot be written to. Earlier steps stay.
        """
        if step in self._manager.all_steps():
            return
        arrays = {
            PARAMETERS + name: np.asarray(array).astype(self._dtype)
            for name, array in parameters.items()
        }
        for name, array in _named_leaves(optimizer_state).items():
            arrays[OPTIMIZER + name] = np.asarray(array)
        arrays[STEP] = np.asarray(step, np.int32)
        tree = traverse_util.unflatten_dict(arrays, sep="/")
        try:
            self._manager.save(
                step, args=ocp.args.Composite(state=ocp.args.PyTreeSave(tree))
            )
        except storage_errors(ValueError) as error:
            # Tensorstore reports the system's errors in this form, as a ValueError.
            if isinstance(error, ValueError) and "[os_error_code=" not in str(error):
                raise
            raise RecyclingError(
                f"cannot write checkpoint {step} to {self._manager.directory}: "
                f"{reason(error).split(' [')[0]}. Earlier steps are complete. Make "
                "room, and start the run again: it resumes from the last of them."
            ) from error

        self._empty()

    def _empty(self) -> None:
        if self._removed is not None:
            shutil.rmtree(self._removed, ignore_errors=True)

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


def latest(model_dir: epath.PathLike) -> Model | None:
    """Returns a run's newest complete step, or None before the first."""
    folder = as_path(model_dir)
    found = steps(folder) if folder.is_dir() else {}
    return open_model(found[max(found)]) if found else None


def restore_optimizer(step: Model, fresh: Any) -> Any:
    """Returns the optimizer's state from a step.

    Args:
      step: a step of the run.
      fresh: a new state of the same optimizer for the same parameters.

    Raises:
      RecyclingError: the step holds the state of another optimizer.
    """
    checkpoint = step.checkpoint
    keys = {name for name in checkpoint.keys() if name.startswith(OPTIMIZER)}
    expected = _named_leaves(fresh)
    names = {OPTIMIZER + name for name in expected}
    if keys != names or any(
        checkpoint.shape(OPTIMIZER + name) != np.shape(leaf)
        for name, leaf in expected.items()
    ):
        different = sorted(keys ^ names)
        raise RecyclingError(
            f"{checkpoint.path} was written by a run with another optimizer or other "
            f"parameters to train (first difference: {(different or ['a shape'])[0]}). "
            "Start the run as it was started before, or choose another MODEL_DIR."
        )
    leaves = [
        jnp.asarray(checkpoint.read(OPTIMIZER + name), leaf.dtype)
        for name, leaf in expected.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(fresh), leaves)


def _named_leaves(optimizer_state: Any) -> dict[str, Any]:
    """Returns the arrays of an optimizer's state, in its order, by T5X's names:
    `0/mu/encoder/prompt/prompt/prompt`.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(optimizer_state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }
