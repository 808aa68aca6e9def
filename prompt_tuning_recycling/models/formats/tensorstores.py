"""Reads arrays with tensorstore; T5X's formats share this code."""

from __future__ import annotations

import abc
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models.formats import base

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

# tensorstore raises these if storage fails.
STORAGE_ERRORS = (ValueError, OSError, RuntimeError)


def kvstore_spec(folder: epath.Path) -> dict[str, Any]:
    """Returns the tensorstore key-value store of a folder, on disk or in a bucket."""
    path = os.fspath(folder)
    scheme, separator, rest = path.partition("://")
    if not separator:
        return {"driver": "file", "path": os.path.abspath(path) + "/"}
    bucket, _, prefix = rest.partition("/")
    return {
        "driver": {"gs": "gcs", "s3": "s3"}[scheme],
        "bucket": bucket,
        "path": prefix.rstrip("/") + "/",
    }


def stored_names(store: ts.KvStore) -> list[str]:
    """Returns the sorted names of zarr arrays (`target.decoder.norm.scale`)."""
    names = set()
    for key in store.list().result():
        name, _, file = key.decode().rpartition("/")
        if file in (".zarray", "zarr.json"):
            names.add(name)
    return sorted(names)


def check_names(names: Iterable[str], where: epath.Path) -> None:
    """Raises RecyclingError if the name of an array leads out of its checkpoint, where
    it is part of a path.
    """
    for name in names:
        if name.startswith("/") or {".", ".."} & set(name.split("/")):
            raise RecyclingError(
                f"{where} has an array called {name!r}, which would lead out of its "
                "folder. No program writes such a checkpoint; do not use it."
            )


def open_array(store: ts.KvStore, name: str) -> ts.TensorStore | None:
    """Opens the zarr array (version 2 or 3) of that name, or returns None.

    It looks first whether the array exists, because tensorstore raises the same error
    for a missing array and for a damaged one.

    Raises:
      RecyclingError: the array's description is damaged.
    """
    for driver, metadata in (("zarr", ".zarray"), ("zarr3", "zarr.json")):
        try:
            found = store.read(f"{name}/{metadata}").result()
        except STORAGE_ERRORS as error:
            raise _damaged(name, error) from error
        if found.state == "missing":
            continue
        if metadata == "zarr.json" and _is_group(found.value):
            continue
        spec = {
            "driver": driver,
            "kvstore": (store / f"{name}/").spec().to_json(),
            # Without this, a lost chunk would silently read as zeros.
            "fill_missing_data_reads": False,
        }
        try:
            return ts.open(spec, open=True, read=True).result()
        except STORAGE_ERRORS as error:
            raise _damaged(name, error) from error
    return None


class TensorstoreCheckpoint(base.Checkpoint):
    """A checkpoint whose arrays tensorstore reads, from the chunks that hold them;
    small ones may have been read when it was opened.
    """

    @abc.abstractmethod
    def _array(self, name: str) -> ts.TensorStore | np.ndarray:
        """Opens a parameter.

        Raises:
          RecyclingError: there is no such parameter, or it is damaged.
        """

    def shape(self, name: str) -> tuple[int, ...]:
        return self._array(name).shape

    def dtype(self, name: str) -> np.dtype:
        array = self._array(name)
        return array.dtype if isinstance(array, np.ndarray) else array.dtype.numpy_dtype

    def read(self, name: str) -> Shaped[np.ndarray, ...]:
        return self._read(name, ...)

    def _take(
        self, name: str, rows: Int[np.ndarray, rows]
    ) -> Shaped[np.ndarray, "rows ..."]:
        return self._read(name, rows)

    def _read(self, name: str, part: Any) -> Shaped[np.ndarray, ...]:
        array = self._array(name)
        if isinstance(array, np.ndarray):
            return np.array(array[part])
        try:
            return np.asarray(array[part].read().result())
        except STORAGE_ERRORS as error:
            raise _damaged(f"{name} of {self.path}", error) from error


def _is_group(value: bytes) -> bool:
    try:
        return json.loads(value).get("node_type") == "group"
    except (ValueError, AttributeError):
        return False


def _damaged(name: str, error: Exception) -> RecyclingError:
    reason = str(error).split(" [")[0]
    return RecyclingError(
        f"parameter {name} is there but cannot be read: a chunk of it is missing or "
        f"damaged. Copy the checkpoint again. (tensorstore: {reason})"
    )
