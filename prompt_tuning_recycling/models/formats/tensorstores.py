"""Reads arrays with tensorstore; T5X's formats share this code."""

from __future__ import annotations

import abc
import json
import math
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import file_sizes, stores
from prompt_tuning_recycling.models.formats import base

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

# tensorstore takes the memory that an array's description announces before it sees the
# array, and where there is less, it ends the process. Larger arrays and chunks must
# take at least a sixteenth of their size on disk. Compression saves about a tenth of
# trained embeddings, and half of those that were bfloat16.
_LARGE = 200 << 20
_MOST_SHRUNK = 16

# tensorstore raises these if storage fails.
STORAGE_ERRORS = (ValueError, OSError, RuntimeError)

_METADATA = (b"/.zarray", b"/.zattrs", b"/zarr.json")

# What a damaged file cannot cause.
_OF_THE_STORE = re.compile(
    "HTTP response code: (4|5)|(?-i:CURL)|All .* attempts failed|credential|UNAVAILABLE"
    "|UNAUTHENTICATED|DEADLINE_EXCEEDED|PERMISSION_DENIED",
    re.IGNORECASE,
)


def kvstore_spec(folder: epath.Path) -> dict[str, Any]:
    """Returns the tensorstore key-value store of a folder, on disk or in a bucket.

    Raises:
      OSError: the settings of an S3 server cannot be read.
    """
    path = os.fspath(folder)
    scheme, separator, rest = path.partition("://")
    if not separator:
        return {"driver": "file", "path": os.path.abspath(path) + "/"}
    bucket, _, prefix = rest.partition("/")
    path = prefix.rstrip("/") + "/" if prefix else ""
    place = {"bucket": bucket, "path": path}
    if scheme == "gs":
        return {"driver": "gcs", **place}
    return {"driver": "s3", **place, **_s3_settings()}


def _s3_settings() -> dict[str, str]:
    # It reads neither the server's address nor, for one that is not Amazon's, the
    # region.
    server = stores.s3_server()
    return {} if server is None else {"endpoint": server[0], "aws_region": server[1]}


def _context() -> ts.Context:
    """Returns the settings by which requests to stores are tried again and S3's
    credentials are found. A context keeps what it has read of a database, so each
    opening has one of its own.
    """
    seconds = str(stores.longest_silence())
    # curl reads these when tensorstore first uses it.
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", seconds)
    os.environ.setdefault("TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS", seconds)
    retries = {
        "max_retries": stores.ATTEMPTS,
        "initial_delay": "1s",
        "max_delay": "8s",
    }
    settings: dict[str, Any] = {
        "gcs_request_retries": retries,
        "s3_request_retries": retries,
    }
    if {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= os.environ.keys():
        # Otherwise it complains of every one of Amazon's files that is not there.
        settings["aws_credentials"] = {"type": "environment"}
    else:
        # By itself it takes none of the profiles.
        names = map(os.environ.get, ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"))
        profile = next(filter(None, names), "default")
        settings["aws_credentials"] = {"type": "default", "profile": profile}
    return ts.Context(settings)


def open_store(spec: dict[str, Any]) -> ts.KvStore:
    """Opens a key-value store.

    Raises:
      RecyclingError: the store cannot be used, or its database is damaged.
    """
    try:
        return ts.KvStore.open(spec, context=_context()).result()
    except STORAGE_ERRORS as error:
        place = spec.get("base", spec)
        name = "/".join(filter(None, (place.get("bucket"), place.get("path"))))
        raise unreadable(error, f"{name}: the checkpoint is damaged") from error


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
            array = ts.open(spec, open=True, read=True, context=_context()).result()
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
    stored = sum(file_sizes(folder / name).values()) or sum(file_sizes(folder).values())
    if stored < size // _MOST_SHRUNK:
        raise _damaged(
            name,
            f"it announces {size} bytes, of which {stored} are stored, less than a "
            f"{_MOST_SHRUNK}th",
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
    try:
        chunks = [k for k in store.list(keys).result() if not k.endswith(_METADATA)]
    except STORAGE_ERRORS as error:
        raise _damaged(name, error) from error
    starts = [store.read(key, byte_range=slice(4, 8)) for key in chunks]
    for start in starts:
        try:
            announced = int.from_bytes(start.result().value, "little")
        except STORAGE_ERRORS as error:
            if _OF_THE_STORE.search(str(error)):
                raise _damaged(name, error) from error
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


def unreadable(found: Exception | str, damage: str) -> RecyclingError:
    """Returns the error for what cannot be read.

    Args:
      found: what tensorstore raised, or what was found instead of it.
      damage: what is wrong if the store is not to blame.
    """
    if isinstance(found, Exception):
        text = " ".join(str(found).split())
        reason = text.split(" [")[0]
        if _OF_THE_STORE.search(text):
            return RecyclingError(
                f"cannot read what is stored: {reason}. Check the permissions and, for "
                "an object store, the network and your credentials, and try again."
            )
        found = f"tensorstore: {reason}"
    return RecyclingError(f"{damage.rstrip('.')}. Copy the checkpoint again. ({found})")


def _damaged(name: str, found: Exception | str) -> RecyclingError:
    return unreadable(
        found,
        f"parameter {name} is there but cannot be read: a chunk of it is missing or "
        "damaged",
    )
