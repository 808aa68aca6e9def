"""What an evaluator of seqio has computed, in the background."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import seqio

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import storage_errors


def metrics_of(
    evaluator: seqio.Evaluator, future: concurrent.futures.Future[Any]
) -> dict[str, dict[str, Any]]:
    """Waits for an evaluation; returns task -> metric -> value.

    Args:
      evaluator: the evaluator, which can be used again after an error.
      future: what its `evaluate` returned.

    Raises:
      RecyclingError: a metric cannot be computed on this task.
      OSError: or another of `files.storage_errors`; the metrics cannot be written.
    """
    try:
        return {task: dict(found) for task, found in future.result().items()}
    except ValueError as error:
        # It would raise the same error at the beginning of its next evaluation.
        evaluator._metrics_future = None
        # It wraps what a metric or the disk raised.
        if isinstance(error.__cause__, storage_errors(RecyclingError)):
            raise error.__cause__ from error
        raise
