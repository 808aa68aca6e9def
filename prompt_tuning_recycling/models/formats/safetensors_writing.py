"""Writes models as safetensors, one array in memory at a time.

Format: see `safetensors_header`. Each file's header comes first, because the sizes of
arrays are known before they are read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from etils import epath

from prompt_tuning_recycling.files.json_files import json_text
from prompt_tuning_recycling.models.formats.safetensors import FILE, INDEX
from prompt_tuning_recycling.models.formats.safetensors_header import (
    DTYPES,
    LENGTH_BYTES,
)
from prompt_tuning_recycling.models.formats.writing import Unwritten

# transformers reads no file without it.
_METADATA = {"format": "pt"}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write(folder: epath.Path, arrays: Sequence[Unwritten], largest: int) -> int:
    """Writes a model's arrays: `model.safetensors`, or shards and their index.

    Args:
      folder: an empty folder.
      arrays: the arrays, in any order.
      largest: the most bytes of arrays in a file. An array that is larger has a file of
        its own.

    Returns:
      The number of files, without the index.
    """
    shards = _shards(arrays, largest)
    if len(shards) == 1:
        _write_file(folder / FILE, shards[0])
        return 1
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_file(folder / name, shard)
        places |= {array.name: name for array in shard}
    index = {
        "metadata": {"total_size": sum(array.size for array in arrays)},
        "weight_map": dict(sorted(places.items())),
    }
    (folder / INDEX).write_bytes(json_text(index).encode())
    return len(shards)


def _shards(arrays: Sequence[Unwritten], largest: int) -> list[list[Unwritten]]:
    shards: list[list[Unwritten]] = [[]]
    filled = 0
    for array in sorted(arrays, key=lambda array: array.name):
        if shards[-1] and filled + array.size > largest:
            shards.append([])
            filled = 0
        shards[-1].append(array)
        filled += array.size
    return shards


def _write_file(path: epath.Path, arrays: Sequence[Unwritten]) -> None:
    # Wide dtypes first, so that each array begins at a multiple of its dtype's width.
    ordered = sorted(arrays, key=lambda array: -array.dtype.itemsize)
    entries: dict[str, object] = {"__metadata__": _METADATA}
    end = 0
    for array in ordered:
        entries[array.name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.size],
        }
        end += array.size
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % LENGTH_BYTES)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(LENGTH_BYTES, "little") + header)
        for array in ordered:
            for _, part in array.parts():
                file.write(part.reshape(-1).view("u1").data)
