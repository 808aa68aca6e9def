"""The msgpack that holds a train state or lists the arrays that belong to it.

T5X wrote one before Orbax, and Orbax wrote one until 2024. Flax's extension 1 is an
array as (shape, dtype name, bytes), 2 is a complex number, and 3 is a numpy scalar,
stored like an array; Orbax's extension 4 is a tuple. An array of more than 1 GiB is a
dictionary of pieces.
Format: flax/serialization.py, orbax/checkpoint/msgpack_utils.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import ml_dtypes
import msgpack
import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import reason, storage_errors

if TYPE_CHECKING:
    from jaxtyping import Shaped

NAME = "checkpoint"

_ARRAY, _COMPLEX, _SCALAR, _TUPLE = 1, 2, 3, 4
_PIECES = "__msgpack_chunked_array__"
# Orbax's placeholders for an array that is stored separately, oldest first.
_PLACEHOLDERS = ("AGGREGATED://", "PLACEHOLDER://")
# Far more than a train state has. Without a limit, a file of nothing but empty
# dictionaries takes 64 times its size.
_MOST_VALUES = 1_000_000
_LONGEST = 100_000
_DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    RecursionError,
    # From the names of dtypes.
    SyntaxError,
    msgpack.UnpackException,
)


def leaves(file: epath.Path) -> dict[str, Any]:
    """Returns the values of a state file by name (`target/encoder/...`).

    A value is an array, a number, or a reference to an array that is stored separately;
    see `is_elsewhere`.

    Raises:
      RecyclingError: it cannot be read, is not a state file, or is damaged.
    """
    try:
        data = file.read_bytes()
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot read {file}: {reason(error)}. Check its permissions and the disk "
            "or bucket that holds it."
        ) from error
    try:
        state = _Unpacking().unpacked(data)
        if not isinstance(state, dict):
            raise ValueError(f"expected a dictionary, found {type(state).__name__}")
        return dict(_flattened(state))
    except _DAMAGED as error:
        raise RecyclingError(
            f"{file} is not the msgpack of a T5X checkpoint, or is damaged: "
            f"{error}. Copy the checkpoint again."
        ) from error


def is_placeholder(value: object) -> bool:
    """Whether a value is Orbax's placeholder for an array stored separately."""
    return isinstance(value, str) and value.startswith(_PLACEHOLDERS)


def is_elsewhere(value: object) -> bool:
    """Whether a value refers to an array stored separately: Orbax's placeholder, or
    T5X's description of the array's location.
    """
    return is_placeholder(value) or _is_reference(value)


def _is_reference(value: object) -> bool:
    return isinstance(value, dict) and "driver" in value and "kvstore" in value


class _Unpacking:
    """Unpacks a msgpack, and counts its values."""

    def __init__(self) -> None:
        self._count = 0

    def unpacked(self, data: bytes) -> Any:
        return msgpack.unpackb(
            data,
            ext_hook=self._extension,
            list_hook=self._counted,
            object_hook=self._counted,
            max_array_len=_LONGEST,
            max_map_len=_LONGEST,
            raw=False,
            strict_map_key=False,
        )

    def _counted(self, values: list | dict) -> list | dict:
        self._count += 1 + len(values)
        if self._count > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_VALUES} values")
        return values

    def _extension(self, code: int, data: bytes) -> Any:
        if code in (_ARRAY, _SCALAR):
            return _array(*msgpack.unpackb(data, raw=False))
        if code == _COMPLEX:
            return complex(*msgpack.unpackb(data))
        if code == _TUPLE:
            return self.unpacked(data)
        raise ValueError(f"an extension of the unknown kind {code}")


def _array(shape: Any, name: str, buffer: bytes) -> Shaped[np.ndarray, ...]:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    if dtype.hasobject:
        raise ValueError(f"an array of dtype {name} is not a parameter")
    return np.frombuffer(buffer, dtype).reshape(tuple(shape))


def _flattened(tree: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(tree, dict) and _PIECES in tree:
        yield prefix, _joined(tree)
    elif isinstance(tree, dict) and not _is_reference(tree):
        for key, value in tree.items():
            yield from _flattened(value, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(tree, (list, tuple)):
        yield from _flattened(dict(enumerate(tree)), prefix)
    elif tree is not None:
        yield prefix, tree


def _joined(pieces: dict[str, Any]) -> Shaped[np.ndarray, ...]:
    shape = [pieces["shape"][str(i)] for i in range(len(pieces["shape"]))]
    flat = [pieces["chunks"][str(i)] for i in range(len(pieces["chunks"]))]
    return np.concatenate(flat).reshape(shape)
