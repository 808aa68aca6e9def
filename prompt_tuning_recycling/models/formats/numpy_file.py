"""A single array, an embedding table or a prompt, in a numpy file or in memory.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

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
        self._array: Any = array

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
        # NumPy raises anything for a header that is damaged.
        except Exception as error:
            raise RecyclingError(
                f"{path} is not a numpy file of numbers, or is cut short: {error}"
            ) from error
        mapped = array
        # NumPy writes bfloat16 as two bytes without a type.
        if array.dtype == np.dtype("V2"):
            array = array.view(ml_dtypes.bfloat16)
        elif array.dtype.kind not in "biuf":
            raise RecyclingError(
                f"{path} holds dtype {array.dtype}; expected real numbers."
            )
        super().__init__(array, os.fspath(file))
        if isinstance(mapped, np.memmap):
            self._array = _ArrayOnDisk(os.path.abspath(file), mapped, array.dtype)
            self._opened_as = self._identity()

    def _identity(self) -> str:
        return str(getattr(self._array, "description", ""))


class _ArrayOnDisk:
    """An array in a local file, which is read when it is needed. A memory map will not
    do: if somebody writes over the file, looking at the map ends the process.
    """

    def __init__(self, path: str, mapped: np.memmap, dtype: np.dtype) -> None:
        self.shape, self.dtype = mapped.shape, dtype
        self._path, self._offset = path, mapped.offset
        self._order: Literal["C", "F"] = "C" if mapped.flags.c_contiguous else "F"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[io.BufferedReader]:
        try:
            with open(self._path, "rb") as file:
                yield file
        except OSError as error:
            raise RecyclingError(
                f"cannot read {self._path}: {reason(error)}. Run the same command "
                "again when it is complete."
            ) from error

    @property
    def description(self) -> bytes:
        """What precedes the numbers in the file, and how long it is."""
        with self._opened() as file:
            size = os.fstat(file.fileno()).st_size
            return file.read(self._offset) + str(size).encode()

    def __array__(
        self, dtype: np.dtype | None = None, copy: bool | None = None
    ) -> Shaped[np.ndarray, ...]:
        del copy
        flat = np.empty(math.prod(self.shape), self.dtype)
        with self._opened() as file:
            self._fill(flat, file, 0)
        array = flat.reshape(self.shape, order=self._order)
        return array if dtype is None else array.astype(dtype)

    def __getitem__(self, rows: Int[np.ndarray, rows]) -> Shaped[np.ndarray, ...]:
        if self._order == "F":
            return np.asarray(self)[rows]
        different, places = np.unique(rows, return_inverse=True)
        array = np.empty((len(different), *self.shape[1:]), self.dtype)
        filled = 0
        with self._opened() as file:
            for first, after in base.runs(different):
                part = array[filled : filled + after - first]
                self._fill(part, file, first * array[:1].nbytes)
                filled += len(part)
        return array[places]

    def _fill(
        self, array: Shaped[np.ndarray, ...], file: io.BufferedReader, at: int
    ) -> None:
        """Reads bytes of the array, from the one at `at` on."""
        file.seek(self._offset + at)
        buffer = array.reshape(-1).view(np.uint8)
        if file.readinto(buffer.data) < buffer.nbytes:
            raise RecyclingError(
                f"{self._path} was cut short while it was being read. Run the same "
                "command again when it is complete."
            )
