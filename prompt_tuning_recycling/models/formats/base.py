"""The interface of every checkpoint format."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import (
    as_path,
    file_sizes,
    read_part,
    storage_errors,
)

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped


# Enough bytes of an array to tell it from another, and few enough to read at once.
_SAMPLE = 1 << 16


class Checkpoint(abc.ABC):
    """A checkpoint whose parameters are read one at a time, whole or by rows.

    Names are those of the checkpoint, with slashes; layouts say what they mean. Opening
    a checkpoint reads no array.

    Attributes:
      path: the file or folder that was opened; for a `MODEL_DIR`, the folder of the
        step.
      format: the format's name, for messages and records.
      is_stored: whether `path` is a place on disk or in a bucket; if not, the arrays
        are only in memory.
    """

    format: ClassVar[str]
    is_stored: ClassVar[bool] = True
    # What `_identity` was when the checkpoint was opened; None if it has none.
    _opened_as: str | None = None

    def __init__(self, path: epath.PathLike) -> None:
        self.path = as_path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @abc.abstractmethod
    def keys(self) -> list[str]:
        """Returns the names of all stored parameters, sorted."""

    @abc.abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Returns a parameter's shape, without reading it.

        Raises:
          RecyclingError: there is no such parameter; the message names the nearest
            ones.
        """

    @abc.abstractmethod
    def dtype(self, name: str) -> np.dtype:
        """Returns the dtype that a parameter is stored in, without reading it.

        Raises:
          RecyclingError: as `shape`.
        """

    @abc.abstractmethod
    def read(self, name: str) -> Shaped[np.ndarray, ...]:
        """Returns a whole parameter in the dtype it is stored in.

        Raises:
          RecyclingError: there is no such parameter, or it cannot be read completely.
        """

    def take(
        self, name: str, rows: Int[np.ndarray, rows] | Sequence[int]
    ) -> Shaped[np.ndarray, "rows ..."]:
        """Returns some rows of a parameter, in the order requested.

        Only the chunks that hold those rows are read.

        Raises:
          RecyclingError: as `read`, or a row is outside the parameter.
        """
        return self._take(name, self._checked_rows(name, rows))

    @abc.abstractmethod
    def _take(
        self, name: str, rows: Int[np.ndarray, rows]
    ) -> Shaped[np.ndarray, "rows ..."]:
        """Does the work of `take`, for rows that exist."""

    def _identity_files(self) -> list[epath.Path]:
        """Returns small files that change whenever the checkpoint is written again."""
        return []

    def _array_folder(self, name: str) -> epath.Path | None:
        """Returns the folder of a parameter that has one of its own, or None."""
        del name
        return None

    def fingerprint(self, name: str) -> str:
        """Returns a SHA-256 that distinguishes this saved checkpoint from others.

        It covers the checkpoint's description of itself (metadata and manifest; all of
        a numpy array), and of a parameter in a folder of its own the names and sizes of
        its files and a part of one. It does not cover every array, because a
        checkpoint may take terabytes. Records add a digest of exactly the rows that
        were used.

        Args:
          name: the parameter that matters.
        """
        digest = self._description()
        folder = self._array_folder(name)
        sizes = {} if folder is None else file_sizes(folder)
        for file, size in sizes.items():
            digest.update(f"{file.name} {size}\0".encode())
        if sizes:
            digest.update(_sample(*list(sizes.items())[len(sizes) // 2]))
        return digest.hexdigest()

    def _identity(self) -> str:
        """Returns a SHA-256 of the files that describe the checkpoint."""
        return self._description().hexdigest()

    def _description(self) -> hashlib._Hash:
        digest = hashlib.sha256(self.format.encode())
        for file in self._identity_files():
            with contextlib.suppress(FileNotFoundError):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest

    @contextlib.contextmanager
    def unchanged(self, name: str) -> Iterator[str]:
        """Gives the fingerprint, and checks at the end that the checkpoint was not
        written again: neither since it was opened nor inside the `with`.

        Args:
          name: the parameter that is read inside; of several, one of them.

        Raises:
          RecyclingError: it was, so that what was read may be of two checkpoints.
        """
        before = self.fingerprint(name)
        try:
            yield before
        except RecyclingError as error:
            self._check_same(name, before, error)
            raise
        self._check_same(name, before)

    def _check_same(
        self, name: str, before: str, found: RecyclingError | None = None
    ) -> None:
        # A checkpoint that is being replaced may be missing or damaged.
        with contextlib.suppress(*storage_errors(RecyclingError)):
            is_same = self.fingerprint(name) == before
            if is_same and self._opened_as in (None, self._identity()):
                return
        raise RecyclingError(
            f"{self.path} was written again or removed while it was being read. Run "
            "the same command again when it is complete."
        ) from found

    def _missing(self, name: str) -> RecyclingError:
        return RecyclingError(
            f"{self.path} ({self.format}) has no parameter {name!r}."
            + did_you_mean(name, self.keys())
        )

    def _checked_rows(
        self, name: str, rows: Int[np.ndarray, rows] | Sequence[int]
    ) -> Int[np.ndarray, rows]:
        rows = np.asarray(rows)
        if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
            raise RecyclingError(
                f"rows of {name} must be a list of whole numbers, got dtype "
                f"{rows.dtype} with shape {rows.shape}."
            )
        shape = self.shape(name)
        if not shape:
            raise RecyclingError(f"{self.path}: {name} is a scalar and has no rows.")
        outside = rows[(rows < 0) | (rows >= shape[0])]
        if outside.size:
            raise RecyclingError(
                f"{self.path}: row {outside[0]} of {name} was asked for, but it has "
                f"the rows 0 to {shape[0] - 1}. Do the words belong to this model's "
                "vocabulary?"
            )
        return rows.astype(np.int64)


def runs(rows: Int[np.ndarray, rows]) -> Iterator[tuple[int, int]]:
    """Yields sorted rows as runs of consecutive ones: the first, and the one after the
    last.
    """
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    for first, after in itertools.pairwise(edges):
        if after > first:
            yield int(rows[first]), int(rows[after - 1]) + 1


def _sample(file: epath.Path, size: int) -> bytes:
    """Returns some bytes from the middle of a file."""
    begin = max(0, (size - _SAMPLE) // 2)
    return read_part(file, begin, begin + _SAMPLE)
