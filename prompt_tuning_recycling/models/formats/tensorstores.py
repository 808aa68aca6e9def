"""Reads arrays with tensorstore; T5X's formats share this code."""

from __future__ import annotations

import abc
import functools
import json
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import stores
from prompt_tuning_recycling.models.formats import base

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

# tensorstore raises these if storage fails.
STORAGE_ERRORS = (ValueError, OSError, RuntimeError)

# What a damaged file cannot cause.
_OF_THE_STORE = re.compile(
    "HTTP response code: (4|5)|CURL|All .* attempts failed|credential|UNAVAILABLE"
    "|UNAUTHENTICATED|DEADLINE_EXCEEDED|PERMISSION_DENIED",
    re.IGNORECASE,
)


def kvstore_spec(folder: epath.Path) -> dict[str, Any]:
    """Returns the tensorstore key-value store of a folder, on disk or in a bucket."""
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


@functools.cache
def _context() -> ts.Context:
    """Returns the settings by which requests to stores are tried again and S3's
    credentials are found.
    """
    seconds = str(stores.silence())
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
    # Otherwise it looks for Amazon's configuration files, and complains if there are
    # none, and for the machine's own account.
    if {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= os.environ.keys():
        settings["aws_credentials"] = {"type": "environment"}
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
            return ts.open(spec, open=True, read=True, context=_context()).result()
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


def unreadable(error: Exception, damage: str) -> RecyclingError:
    """Returns the error for what tensorstore could not read.

    Args:
      error: what it raised.
      damage: what is wrong if the store is not to blame.
    """
    text = " ".join(str(error).split())
    reason = text.split(" [")[0]
    if _OF_THE_STORE.search(text):
        return RecyclingError(
            f"cannot read from the object store: {reason}. Check the network, your "
            "credentials and permissions, and try again."
        )
    return RecyclingError(
        f"{damage.rstrip('.')}. Copy the checkpoint again. (tensorstore: {reason})"
    )


def _damaged(name: str, error: Exception) -> RecyclingError:
    return unreadable(
        error,
        f"parameter {name} is there but cannot be read: a chunk of it is missing or "
        "damaged",
    )
