"""T5X's checkpoints before Orbax: all the released T5 1.1 models.

A step folder holds `checkpoint`, a msgpack of the whole state in which large
arrays are only referred to, and one zarr folder beside it per large array
(`target.token_embedder.embedding/`). Flax's msgpack extensions: 1 is an array as
(shape, dtype name, bytes), 3 a scalar.
Format: t5x/checkpoints.py and flax/serialization.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import msgpack
import numpy as np
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.checkpoints import base, gzip_chunk, tensorstores
from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

STATE_FILE = "checkpoint"
_ARRAY, _SCALAR = 1, 3


class LegacyCheckpoint(base.Checkpoint):
    """A step that T5X saved before Orbax: arrays inlined, or in zarr folders."""

    format = "T5X legacy"

    def __init__(self, path: epath.PathLike) -> None:
        """Opens a step folder.

        Raises:
          RecyclingError: its `checkpoint` is missing or damaged.
        """
        super().__init__(path)
        self._parameters = _parameters(self.path / STATE_FILE)
        self._store = ts.KvStore.open(tensorstores.kvstore_spec(self.path)).result()
        self._arrays: dict[str, ts.TensorStore | np.ndarray] = {}

    def keys(self) -> list[str]:
        return sorted(self._parameters)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._array(name).shape

    def read(self, name: str) -> Shaped[np.ndarray, ...]:
        array = self._array(name)
        if isinstance(array, np.ndarray):
            return array
        return tensorstores.read_array(array, f"{name} of {self.path}")

    def _take(
        self, name: str, rows: Int[np.ndarray, rows]
    ) -> Shaped[np.ndarray, "rows ..."]:
        array = self._array(name)
        if isinstance(array, np.ndarray):
            return array[rows]
        folder = self.path / name.replace("/", ".")
        leading = gzip_chunk.take_leading_rows(folder, rows)
        if leading is not None:
            return leading
        return tensorstores.read_array(array, f"{name} of {self.path}", rows)

    def _identity_files(self) -> list[epath.Path]:
        return [self.path / STATE_FILE]

    def _array(self, name: str) -> ts.TensorStore | np.ndarray:
        if name not in self._parameters:
            raise self._missing(name)
        if name not in self._arrays:
            self._arrays[name] = self._open(name)
        return self._arrays[name]

    def _open(self, name: str) -> ts.TensorStore | np.ndarray:
        value = self._parameters[name]
        if not _is_reference(value):
            return np.asarray(value)
        # The spec that was stored may name a driver that no public tensorstore has
        # (gfile), or the path the checkpoint had when it was written; the folder
        # beside the state file is what is here.
        folder = name.replace("/", ".")
        array = tensorstores.open_array(self._store, folder)
        if array is None:
            raise RecyclingError(
                f"{self.path}: parameter {name} belongs to it, but its folder "
                f"{folder}/ is missing or has no .zarray. Copy the checkpoint again, "
                "all its folders included."
            )
        return array


def _parameters(file: epath.Path) -> dict[str, Any]:
    """The state flattened to `target/...` and `state/...`."""
    try:
        state = msgpack.unpackb(
            file.read_bytes(), ext_hook=_extension, raw=False, strict_map_key=False
        )
    except (OSError, ValueError, msgpack.UnpackException, TypeError) as error:
        raise RecyclingError(
            f"{file} is not the msgpack of a T5X checkpoint, or is damaged: {error}. "
            "Copy the checkpoint again."
        ) from error
    if not isinstance(state, dict):
        raise RecyclingError(
            f"{file} is not the msgpack of a T5X checkpoint: expected a dictionary, "
            f"found {type(state).__name__}."
        )
    # The key under which T5X kept the train state when that was an optimizer.
    return dict(_flattened(state.get("optimizer", state)))


def _flattened(tree: dict[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and not _is_reference(value):
            leaves.extend(_flattened(value, f"{name}/"))
        elif value is not None:
            leaves.append((name, value))
    return leaves


def _is_reference(value: object) -> bool:
    return isinstance(value, dict) and "driver" in value and "kvstore" in value


def _extension(code: int, data: bytes) -> Any:
    if code == _ARRAY:
        return _array_from(*msgpack.unpackb(data, raw=False))
    if code == _SCALAR:
        return _array_from((), *msgpack.unpackb(data, raw=False))
    return msgpack.ExtType(code, data)


def _array_from(shape: Any, dtype: str, buffer: bytes) -> Shaped[np.ndarray, ...]:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    if np.dtype(kind).hasobject:
        raise ValueError(f"an array of dtype {dtype} is not a parameter")
    return np.frombuffer(buffer, kind).reshape(tuple(shape))
