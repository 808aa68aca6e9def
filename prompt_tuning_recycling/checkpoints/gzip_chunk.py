"""The first rows of a gzipped zarr chunk, without unpacking the rest of it.

A table that one device saved is a single chunk: 100 MB for T5 Base, 0.5 GB for XXL,
of which a word list needs the first quarter. Gzip unpacks front to back, so it can
stop there; tensorstore always unpacks whole chunks.
Format: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html, RFC 1952.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

_BLOCK = 1 << 20
_GZIP = 31  # zlib's code for a gzip header and trailer around the stream.
# Beyond this share of the chunk, tensorstore's own reading is as good.
_WORTHWHILE = 0.75


def take_leading_rows(
    array: epath.Path, rows: Int[np.ndarray, rows]
) -> Shaped[np.ndarray, "rows ..."] | None:
    """Returns those rows of a zarr version 2 array, or None where unpacking from the
    front does not help: other compressors, several chunks, rows at the end.

    Raises:
      RecyclingError: the chunk is damaged or cut short.
    """
    metadata = json.loads((array / ".zarray").read_bytes())
    chunk_rows, *rest = metadata["chunks"]
    if (
        not len(rows)
        or (metadata["compressor"] or {}).get("id") != "gzip"
        or metadata["order"] != "C"
        or metadata["filters"]
        or rest != metadata["shape"][1:]
        or len(np.unique(rows // chunk_rows)) > 1
        or rows.max() % chunk_rows > _WORTHWHILE * chunk_rows
    ):
        return None
    separator = metadata.get("dimension_separator", ".")
    number = int(rows[0] // chunk_rows)
    chunk = array / separator.join([str(number)] + ["0"] * len(rest))
    if not chunk.exists():
        return None
    name = metadata["dtype"]
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    row_bytes = math.prod(rest) * dtype.itemsize
    needed = (int(rows.max()) % chunk_rows + 1) * row_bytes
    data = _unpack(chunk, needed, chunk_rows * row_bytes)
    return np.frombuffer(data, dtype).reshape(-1, *rest)[rows - number * chunk_rows]


def _unpack(chunk: epath.Path, needed: int, whole: int) -> bytearray:
    data = bytearray(needed)
    filled = 0
    stream = zlib.decompressobj(_GZIP)
    with chunk.open("rb") as file:
        try:
            # The last four bytes are the unpacked size: stopping early, nothing else
            # would show that the end of the file is missing.
            file.seek(-4, 2)
            size = int.from_bytes(file.read(4), "little")
            file.seek(0)
            while filled < needed and (block := file.read(_BLOCK)):
                part = stream.decompress(block, needed - filled)
                data[filled : filled + len(part)] = part
                filled += len(part)
        except (zlib.error, OSError) as error:
            raise _damaged(chunk, str(error)) from error
    if filled < needed or size != whole % 2**32:
        raise _damaged(chunk, "it is cut short")
    return data


def _damaged(chunk: epath.Path, reason: str) -> RecyclingError:
    return RecyclingError(
        f"the chunk {chunk} is damaged: {reason}. Copy the checkpoint again."
    )
