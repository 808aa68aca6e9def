"""A single array, an embedding table or a prompt, in a numpy file or in memory.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, is_remote, reason, storage_errors
from prompt_tuning_recycling.models import floats
from prompt_tuning_recycling.models.formats import base

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

MAGIC = b"\x93NUMPY"


class ArrayInMemory(base.Checkpoint):
    """One array as a checkpoint. It has only one parameter, so every name refers to
    it.
    """

    format = "array"
    is_stored = False

    def __init__(self, array: Shaped[np.ndarray, ...], path: str = "in memory") -> None:
        super().__init__(path)
        self._array = array

    def keys(self) -> list[str]:
        return [self.path.name]

    def shape(self, name: str) -> tuple[int, ...]:
        del name
        return self._array.shape

    def dtype(self, name: str) -> np.dtype:
        del name
        return self._array.dtype

    def read(self, name: str) -> Shaped[np.ndarray, ...]:
        del name
        return np.array(self._array)

    def _take(
        self, name: str, rows: Int[np.ndarray, rows]
    ) -> Shaped[np.ndarray, "rows ..."]:
        del name
        return np.array(self._array[rows])

    def fingerprint(self, name: str) -> str:
        del name
        return floats.digest(self._array)


class NumpyFile(ArrayInMemory):
    """One array in a numpy file; the file may have any name."""

    format = "NumPy"
    is_stored = True

    def __init__(self, path: epath.PathLike) -> None:
        """Opens the file; its array stays on disk until it is read.

        Raises:
          RecyclingError: it is not a numpy file, is truncated, or holds Python objects,
            which can only be loaded by running code from the file.
        """
        file = as_path(path)
        try:
            if is_remote(file):
                array = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
            else:
                array = np.load(file, mmap_mode="r", allow_pickle=False)
        except storage_errors() as error:
            raise RecyclingError(
                f"cannot read {path}: {reason(error)}. Check its permissions and the "
                "disk or bucket that holds it."
            ) from error
        except (ValueError, EOFError) as error:
            raise RecyclingError(
                f"{path} is not a numpy file of numbers, or is cut short: {error}"
            ) from error
        # NumPy writes bfloat16 as two bytes without a type.
        if array.dtype == np.dtype("V2"):
            array = array.view(ml_dtypes.bfloat16)
        elif array.dtype.kind not in "biuf":
            raise RecyclingError(
                f"{path} holds dtype {array.dtype}; expected real numbers."
            )
        super().__init__(array, os.fspath(path))
