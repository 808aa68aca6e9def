"""Work that process 0 does for all: its result, or its error, reaches every process."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.experimental import multihost_utils

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Shaped


def from_process_zero(
    compute: Callable[[], Shaped[np.ndarray, "..."]],
) -> Shaped[np.ndarray, "..."]:
    """Returns what `compute` returns on process 0, bit for bit, on every process.

    Call it on all processes, outside any trace.

    Args:
      compute: called only on process 0.

    Raises:
      RecyclingError: `compute` raised it. Every process raises it, because the others
        would otherwise wait forever for a result.
      RuntimeError: `compute` failed with another error, which process 0 raises.
    """
    if jax.process_count() == 1:
        return compute()
    error, payload = None, b""
    if jax.process_index() == 0:
        try:
            payload = _as_bytes(compute())
        except Exception as caught:
            error = caught
            payload = _message(caught).encode()
    # Only process 0 knows what came of it, and how long that is, so this comes first.
    expected = isinstance(error, RecyclingError)
    header = np.array([error is None, expected, len(payload)], np.int32)
    succeeded, expected, length = multihost_utils.broadcast_one_to_all(header).tolist()
    buffer = np.frombuffer(payload, np.uint8) if payload else np.zeros(length, np.uint8)
    # Integers are sent, because a broadcast is a sum, which turns -0.0 into 0.0.
    received = np.asarray(multihost_utils.broadcast_one_to_all(buffer)).astype(np.uint8)
    multihost_utils.assert_equal(
        received, "the processes have received different results from process 0"
    )
    if error is not None:
        raise error
    if not succeeded:
        kind = RecyclingError if expected else RuntimeError
        raise kind(received.tobytes().decode())
    return np.load(io.BytesIO(received.tobytes()), allow_pickle=False)


def on_process_zero(do: Callable[[], object]) -> None:
    """Calls a function on process 0; if it fails, every process raises an error.

    Call it on all processes.

    Args:
      do: called only on process 0.

    Raises:
      RecyclingError, RuntimeError: as `from_process_zero`.
    """

    def compute() -> np.ndarray:
        do()
        return np.zeros(0)

    from_process_zero(compute)


def _as_bytes(array: Shaped[np.ndarray, "..."]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _message(error: Exception) -> str:
    if isinstance(error, RecyclingError):
        return str(error)
    return f"process 0 failed with {type(error).__name__}: {error}"
