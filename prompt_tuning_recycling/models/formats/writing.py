"""What the writers of whole models have in common: arrays that are read one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Shaped

# How many bytes are written at once: much for a disk, and little memory.
_AT_ONCE = 1 << 25


@dataclasses.dataclass(frozen=True)
class Unwritten:
    """An array that is going to be written.

    Attributes:
      name: its name in the new checkpoint.
      shape: its shape.
      dtype: its dtype.
      read: returns it, with this shape and dtype. It is called once.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], Shaped[np.ndarray, ...]]

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def rows_at_once(self) -> int:
        """How many of its rows to write at once; 1 if it is a scalar."""
        if not self.shape:
            return 1
        row = max(1, self.size // max(1, self.shape[0]))
        return max(1, min(self.shape[0], _AT_ONCE // row))

    def parts(self) -> Iterator[tuple[slice, Shaped[np.ndarray, ...]]]:
        """Reads it and yields its rows in parts, each contiguous in memory, with their
        place. A scalar is one part, whose place is `slice(None)`.
        """
        array = self.read()
        if array.shape != self.shape or array.dtype != self.dtype:
            raise AssertionError(f"{self.name}: {array.shape} {array.dtype}")
        if not self.shape:
            yield slice(None), array
            return
        for first in range(0, self.shape[0], self.rows_at_once):
            place = slice(first, min(self.shape[0], first + self.rows_at_once))
            yield place, np.ascontiguousarray(array[place])
