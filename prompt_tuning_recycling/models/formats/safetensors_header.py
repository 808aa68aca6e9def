"""The header of a safetensors file, checked.

A file is the header's length (8 bytes, little-endian), the header, and the bytes of the
tensors: row-major, little-endian, without gaps. The header is JSON: a tensor's name ->
its `dtype`, its `shape`, and its `data_offsets` [begin, end) after the header. An entry
`__metadata__` holds texts. Spaces may follow the JSON.
Format: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.json_files import parse_json

LENGTH_BYTES = 8
"""The bytes before the header, which hold its length."""

# The format's own limit.
_LONGEST = 100_000_000
# NumPy's.
_MOST_DIMENSIONS, _MOST_NUMBERS = 32, 1 << 59
_METADATA = "__metadata__"
_ENTRY = {"dtype", "shape", "data_offsets"}

DTYPES: Mapping[str, np.dtype] = types.MappingProxyType(
    {
        name: np.dtype(dtype)
        for name, dtype in {
            "F64": np.float64,
            "F32": np.float32,
            "F16": np.float16,
            "BF16": ml_dtypes.bfloat16,
            "I64": np.int64,
            "I32": np.int32,
            "I16": np.int16,
            "I8": np.int8,
            "U64": np.uint64,
            "U32": np.uint32,
            "U16": np.uint16,
            "U8": np.uint8,
            "BOOL": np.bool_,
            "C64": np.complex64,
            "F8_E4M3": ml_dtypes.float8_e4m3fn,
            "F8_E5M2": ml_dtypes.float8_e5m2,
            "F8_E8M0": ml_dtypes.float8_e8m0fnu,
        }.items()
    }
)
"""The format's name of a dtype -> the dtype."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in its file.

    Attributes:
      dtype: its dtype.
      shape: its shape.
      begin: its first byte, counted from the beginning of the file.
      end: the byte after its last.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def header_length(start: bytes, file_size: int, path: os.PathLike) -> int:
    """Returns the length of a file's header, in bytes.

    Args:
      start: the file's first 8 bytes; fewer if it is shorter.
      file_size: the file's length, in bytes.
      path: the file, for messages.

    Raises:
      RecyclingError: the file is shorter than that, or the length is absurd.
    """
    if len(start) < LENGTH_BYTES:
        raise damaged(path, f"it has {file_size} bytes")
    length = int.from_bytes(start, "little")
    if not 2 <= length <= min(_LONGEST, file_size - LENGTH_BYTES):
        raise damaged(
            path,
            f"expected a header of 2 to {_LONGEST} bytes within a file of {file_size}, "
            f"found the length {length}",
        )
    return length


def read_header(
    header: bytes, file_size: int, path: os.PathLike
) -> Mapping[str, Tensor]:
    """Returns the tensors that a header describes, by name.

    Args:
      header: the header's bytes.
      file_size: the file's length, in bytes.
      path: the file, for messages.

    Raises:
      RecyclingError: the header is not the JSON of such a file, or does not fit the
        file: unknown dtypes, sizes that are not those of the shapes, tensors that
        overlap or leave gaps, or that do not end where the file ends.
    """
    where = f"the header of {os.fspath(path)}"
    try:
        content = parse_json(header.decode(), where)
    except UnicodeDecodeError as error:
        raise damaged(path, "its header is not UTF-8") from error
    if not isinstance(content, dict):
        raise damaged(path, "its header is not a JSON object")
    first = LENGTH_BYTES + len(header)
    tensors = {
        name: _tensor(name, entry, first, path)
        for name, entry in content.items()
        if name != _METADATA
    }
    end = first
    for name, tensor in sorted(tensors.items(), key=lambda item: _place(item[1])):
        if tensor.begin != end:
            problem = "overlaps another" if tensor.begin < end else "follows a gap"
            raise damaged(path, f"tensor {name} {problem}")
        end = tensor.end
    if end != file_size:
        raise damaged(
            path, f"its header describes {end} bytes, but the file has {file_size}"
        )
    return tensors


def damaged(path: os.PathLike, found: str) -> RecyclingError:
    """Returns the error for a file that is not what its format says."""
    return RecyclingError(
        f"{os.fspath(path)} is not a safetensors file, or is damaged: {found}. Copy "
        "or download it again."
    )


def _tensor(name: str, entry: Any, first: int, path: os.PathLike) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != _ENTRY:
        raise damaged(path, f"tensor {name} lacks {', '.join(sorted(_ENTRY))}")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise RecyclingError(
            f"{os.fspath(path)}: tensor {name} has the unknown dtype "
            f"{entry['dtype']!r}. Expected one of {', '.join(DTYPES)}."
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape):
        raise damaged(path, f"tensor {name} has the shape {shape!r}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise damaged(path, f"tensor {name} has the offsets {offsets!r}")
    begin, end = offsets
    size = math.prod(shape) * dtype.itemsize
    if size != end - begin:
        raise damaged(
            path,
            f"tensor {name} {shape} of {entry['dtype']} takes {size} bytes, but its "
            f"offsets span {end - begin}",
        )
    if not _is_possible(shape):
        raise damaged(path, f"tensor {name} has the shape {shape!r}")
    return Tensor(dtype, tuple(shape), first + begin, first + end)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(number) is int and number >= 0 for number in value
    )


def _is_possible(shape: list[int]) -> bool:
    """Whether there can be such an array, even if it is empty."""
    numbers = math.prod(max(1, length) for length in shape)
    return len(shape) <= _MOST_DIMENSIONS and numbers < _MOST_NUMBERS


def _place(tensor: Tensor) -> tuple[int, int]:
    return tensor.begin, tensor.end
