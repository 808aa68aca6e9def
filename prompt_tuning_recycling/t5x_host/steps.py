"""Which step T5X is restoring. It does not tell its restore transformations."""

from __future__ import annotations

import contextvars
from typing import Any

import gin
from etils import epath
from t5x import checkpoints

from prompt_tuning_recycling.errors import RecyclingError

_restoring: contextvars.ContextVar[epath.PathLike] = contextvars.ContextVar("restoring")


@gin.register(module="prompt_tuning_recycling.t5x_host.steps")
class CheckpointManager(checkpoints.OrbaxCheckpointManagerInterface):
    """T5X's checkpoint manager, which notes what it restores. It is for programs that
    only restore: T5X cannot resume a run that saves with another manager than its own.
    """

    def restore(
        self, step: int | None = None, path: str | None = None, **rest: Any
    ) -> Any:
        """Restores a step; see T5X."""
        if path is None:
            return super().restore(step, **rest)
        noted = _restoring.set(path)
        try:
            return super().restore(path=path, **rest)
        finally:
            _restoring.reset(noted)


def restored_now() -> epath.PathLike:
    """Returns the step folder that T5X is restoring through `CheckpointManager`.

    Raises:
      RecyclingError: it restores in another way.
    """
    try:
        return _restoring.get()
    except LookupError as error:
        raise RecyclingError(
            "utils.RestoreCheckpointConfig.mode = 'all' works only in "
            "runs/t5x/prompt_eval.gin, and with use_orbax = True. Name one step as "
            "INITIAL_CHECKPOINT_PATH."
        ) from error
