"""A run's checkpoints, as T5X writes them through Orbax:
`MODEL_DIR/checkpoint_<step>/state/`.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, is_remote, reason, storage_errors
from prompt_tuning_recycling.files.failures import disk_reason
from prompt_tuning_recycling.files.staging import Staged, scratch_folder
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.models.layouts.t5x import OPTIMIZER, PARAMETERS, STEP
from prompt_tuning_recycling.models.steps import (
    incomplete_steps,
    newest_step,
    step_folders,
    steps,
)
from prompt_tuning_recycling.standalone import orbax_errors
from prompt_tuning_recycling.standalone.parameters import Parameters

# Old steps are renamed to here before their files are removed, so that a run that is
# killed meanwhile leaves no half of a step under a step's name.
_REMOVED = ".removed_checkpoints"

logger = logging.getLogger(__name__)

# A step on an object store is complete if it has one of the last two, and Orbax takes
# its arrays for complete if they have the first.
_MARKS = ("state/commit_success.txt", "_CHECKPOINT_METADATA", "commit_success.txt")
# The approximate size of a step's files on a store. A file is in memory while it is
# copied.
_BYTES_PER_FILE = 1 << 25
# Added to the name of a step that is not whole.
_INCOMPLETE = ".incomplete"


class Saver:
    """Writes steps, each whole or not at all, and removes old ones."""

    def __init__(
        self, model_dir: epath.PathLike, keep: int | None, dtype: str = "float32"
    ) -> None:
        """Opens a run's folder, and removes old steps beyond `keep`. On a disk, removes
        what a killed run left half-written, and renames steps that are not whole.

        Args:
          model_dir: the run's folder, which is made if it is missing.
          keep: how many of the newest steps to keep; None or 0 for all, as in T5X.
          dtype: the dtype of the saved parameters.
        """
        self._dtype = dtype
        self._model_dir = as_path(model_dir)
        kind = _OnStore if is_remote(model_dir) else _OnDisk
        self._written = kind(self._model_dir, keep or None)

    def save(self, step: int, parameters: Parameters, optimizer_state: Any) -> None:
        """Writes a step, unless it exists.

        Raises:
          RecyclingError: the disk is full, or it or the store cannot be written to.
            Earlier steps stay.
        """
        if step in steps(self._model_dir):
            return
        arrays = {
            PARAMETERS + name: np.asarray(array).astype(self._dtype)
            for name, array in parameters.items()
        }
        for name, array in _named_leaves(optimizer_state).items():
            arrays[OPTIMIZER + name] = np.asarray(array)
        arrays[STEP] = np.asarray(step, np.int32)
        try:
            with orbax_errors.raised_only():
                self._written.write(step, arrays)
        except RecyclingError:
            raise
        except storage_errors(ValueError) as error:
            if (why := disk_reason(error)) is None:
                raise
            raise RecyclingError(
                f"cannot write checkpoint {step} to {self._model_dir}: {why}. Earlier "
                "steps are complete. Make room, and start the run again: it resumes "
                "from the last of them."
            ) from error

    def close(self) -> None:
        """Waits until everything is written."""
        self._written.close()


class _OnDisk:
    """Steps that Orbax writes under a temporary name and renames."""

    def __init__(
        self, model_dir: epath.Path, keep: int | None, file_size: int | None = None
    ) -> None:
        self._file_size = file_size
        self._removed = model_dir / _REMOVED
        self._empty()
        _rename_incomplete(model_dir)
        self._manager = ocp.CheckpointManager(
            os.path.abspath(model_dir),
            options=ocp.CheckpointManagerOptions(
                step_prefix="checkpoint",
                max_to_keep=keep,
                cleanup_tmp_directories=True,
                todelete_subdir=_REMOVED,
                enable_async_checkpointing=False,
            ),
            item_names=("state",),
        )
        if keep is not None:
            # Of an earlier run that could not remove them.
            for old in sorted(self._manager.all_steps())[:-keep]:
                try:
                    self._manager.delete(old)
                except storage_errors() as error:
                    logger.warning(
                        "warning: cannot remove checkpoint_%s: %s", old, reason(error)
                    )
            self._empty()

    def write(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        tree = traverse_util.unflatten_dict(arrays, sep="/")
        state = ocp.args.PyTreeSave(tree, ocdbt_target_data_file_size=self._file_size)
        if not self._manager.save(step, args=ocp.args.Composite(state=state)):
            raise RecyclingError(
                f"Orbax did not write step {step}: expected that the newest step is "
                f"older, found {max(self._manager.all_steps())}. Remove the newer "
                "steps, or choose another MODEL_DIR."
            )
        self._empty()

    def _empty(self) -> None:
        shutil.rmtree(self._removed, ignore_errors=True)

    def close(self) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


class _OnStore:
    """Steps on an object store, which are written to the disk and copied.

    The marks of a step are the last to come and the first to go, so that a step that is
    only partly there never has them.
    """

    def __init__(self, model_dir: epath.Path, keep: int | None) -> None:
        self._model_dir = model_dir
        self._keep = keep
        self._remove_old()

    def write(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        name = f"checkpoint_{step}"
        with scratch_folder() as local:
            written = _OnDisk(local, None, _BYTES_PER_FILE)
            written.write(step, arrays)
            written.close()
            for mark in _MARKS:
                # Orbax writes all of them to the disk, too, since 2026.
                (local / name / mark).touch()
            if step in step_folders(self._model_dir):
                # A killed run left a part of this step.
                _remove(self._model_dir / name)
            Staged(self._model_dir / name, local / name).publish(_MARKS)
        self._remove_old()

    def _remove_old(self) -> None:
        if self._keep:
            for old in list(steps(self._model_dir).values())[: -self._keep]:
                _remove(old)

    def close(self) -> None:
        """All is written already."""


def _rename_incomplete(model_dir: epath.Path) -> None:
    """Renames steps that are not whole, as after a copy that was stopped: Orbax would
    take them for steps, and write no others up to them.
    """
    whole = steps(model_dir)
    for number, folder in step_folders(model_dir).items():
        if number not in whole:
            aside = model_dir / f"{folder.name}{_INCOMPLETE}"
            for count in itertools.count(2):
                if not os.path.lexists(aside):
                    break
                aside = model_dir / f"{folder.name}{_INCOMPLETE}-{count}"
            try:
                os.rename(folder, aside)
            except OSError as error:
                raise RecyclingError(
                    f"cannot rename {folder}, which is not whole: {reason(error)}. "
                    "Move or remove it, and start the run again."
                ) from error
            logger.warning(
                "warning: renamed %s to %s, since it is not whole", folder, aside.name
            )


def _remove(step: epath.Path) -> None:
    try:
        for mark in reversed(_MARKS):
            (step / mark).unlink(missing_ok=True)
        step.rmtree(missing_ok=True)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot remove {step}, which is old or was not written completely: "
            f"{reason(error)}. Allow it, or remove it, and start the run again."
        ) from error


def latest(model_dir: epath.PathLike) -> Model | None:
    """Returns a run's newest complete step, or None before the first."""
    folder = as_path(model_dir)
    found = newest_step(folder)
    if found is None:
        for incomplete in incomplete_steps(folder):
            logger.warning(
                "warning: starting from the beginning, because %s", incomplete
            )
        return None
    return open_model(found)


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
