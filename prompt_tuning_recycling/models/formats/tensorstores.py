"""Reads arrays with tensorstore; T5X's formats share this code."""

from __future__ import annotations

import abc
import json
import math
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

# What S3 servers that have no regions expect.
_REGION = "us-east-1"

# tensorstore takes the memory that an array's description announces before it sees the
# array, and where there is less, it ends the process. Arrays and chunks of more than
# this have to be stored in at least a share of it. Trained embeddings shrink by a
# tenth, and to a half where they were bfloat16.
_LARGE = 200 << 20
_MOST_SHRUNK = 16

# tensorstore raises these if storage fails.
STORAGE_ERRORS = (ValueError, OSError, RuntimeError)

_METADATA = (b"/.zarray", b"/zarr.json")


def kvstore_spec(folder: epath.Path) -> dict[str, Any]:
    """Returns the tensorstore key-value store of a folder, on disk or in a bucket."""
    path = os.fspath(folder)
    scheme, separator, rest = path.partition("://")
    if not separator:
        return {"driver": "file", "path": os.path.abspath(path) + "/"}
    bucket, _, prefix = rest.partition("/")
    place = {"bucket": bucket, "path": prefix.rstrip("/") + "/"}
    if scheme == "gs":
        return {"driver": "gcs", **place}
    return {"driver": "s3", **place, **_s3_server()}


def _s3_server() -> dict[str, str]:
    """Returns the settings of an S3 server that is not Amazon's, if one is set."""
    # s3fs reads these settings, and tensorstore does not.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
    region = os.environ.get("AWS_REGION", os.environ.get("AWS_DEFAULT_REGION"))
    return {"endpoint": endpoint, "aws_region": region or _REGION} if endpoint else {}


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


def open_array(
    store: ts.KvStore, name: str, folder: epath.Path
) -> ts.TensorStore | None:
    """Opens the zarr array (version 2 or 3) of that name, or returns None.

    It looks first whether the array exists, because tensorstore raises the same error
    for a missing array and for a damaged one.

    Args:
      store: the arrays of a checkpoint.
      name: the array's name in it.
      folder: where `store` is.

    Raises:
      RecyclingError: the array's description is damaged, or it announces far more than
        is stored.
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
            array = ts.open(spec, open=True, read=True).result()
        except STORAGE_ERRORS as error:
            raise _damaged(name, error) from error
        _check_size(array, name, folder)
        _check_blosc(array, name, store)
        return array
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


def _check_size(array: ts.TensorStore, name: str, folder: epath.Path) -> None:
    """Refuses an array, or chunks, much larger than what is stored of them."""
    largest = max(math.prod(array.shape), _chunk_numbers(array))
    size = largest * array.dtype.numpy_dtype.itemsize
    if size <= _LARGE:
        return
    # In an OCDBT database, arrays have no folders of their own.
    of_its_own = folder / name
    files = base.files_in(of_its_own if of_its_own.is_dir() else folder)
    needed = size // _MOST_SHRUNK
    for file in files:
        needed -= file.stat().length
        if needed <= 0:
            return
    raise _damaged(
        name,
        f"it announces {size} bytes, of which {size // _MOST_SHRUNK - needed} are "
        f"stored, less than a {_MOST_SHRUNK}th",
    )


def _check_blosc(array: ts.TensorStore, name: str, store: ts.KvStore) -> None:
    """Refuses chunks that Blosc would unpack to more than a chunk: it takes the memory
    that a chunk itself announces. The other compressors stop at the chunk's size.
    """
    metadata = array.spec().to_json()["metadata"]
    codecs = [metadata.get("compressor") or {}, *metadata.get("codecs", ())]
    if not any("blosc" in (one.get("id"), one.get("name")) for one in codecs):
        if '"blosc"' in json.dumps(metadata):
            raise _damaged(name, "it has Blosc inside shards, which is not supported")
        return
    size = _chunk_numbers(array) * array.dtype.numpy_dtype.itemsize
    keys = ts.KvStore.KeyRange(f"{name}/", f"{name}0")
    # A chunk begins with four bytes of flags and its size when unpacked.
    starts = [
        store.read(key, byte_range=slice(4, 8))
        for key in store.list(keys).result()
        if not key.endswith(_METADATA)
    ]
    for start in starts:
        try:
            announced = int.from_bytes(start.result().value, "little")
        except STORAGE_ERRORS:
            # Too short for a chunk, which tensorstore says when it is read.
            continue
        if announced > size:
            raise _damaged(name, f"a chunk of {size} bytes announces {announced} bytes")


def _chunk_numbers(array: ts.TensorStore) -> int:
    """Returns how many numbers are in a chunk; of shards, in one of them."""
    return math.prod(
        length or 1 for length in array.chunk_layout.write_chunk.shape or ()
    )


def _is_group(value: bytes) -> bool:
    try:
        return json.loads(value).get("node_type") == "group"
    except (ValueError, AttributeError, RecursionError):
        return False


def _damaged(name: str, found: Exception | str) -> RecyclingError:
    if isinstance(found, Exception):
        found = f"tensorstore: {str(found).split(' [')[0]}"
    return RecyclingError(
        f"parameter {name} is there but cannot be read: a chunk of it is missing or "
        f"damaged. Copy the checkpoint again. ({found})"
    )
