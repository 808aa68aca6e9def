"""`Prompt`: an array, where it belongs, where it comes from, and its file.

A prompt file is a numpy array `[length, width]` under any name, as prompt-tuning
exports it (`encoder.prompt.prompt.prompt`) and reads it (`from_file.gin`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    check_writable,
    reason,
    storage_errors,
    write_atomically,
)
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.models.floats import check_floating

if TYPE_CHECKING:
    from jaxtyping import Float

USUAL_SITE = "encoder"
"""Where the prompt of an encoder-decoder belongs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """A soft prompt.

    Attributes:
      array: float16, bfloat16, float32 or float64 [length, width], finite.
      site: where it belongs in a model: `encoder`, or the name of its parameter.
      record: where it comes from, JSON-compatible; what `save` writes beside it.

    Raises:
      RecyclingError: not a matrix of finite floating-point numbers.
    """

    array: Float[np.ndarray, "length width"]
    site: str = USUAL_SITE
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_prompt(self.array, "the prompt")

    def save(self, path: epath.PathLike) -> None:
        """Writes the prompt under exactly that name, float32, whole or not at all, and
        its record to `<path>.json` beside it.

        Args:
          path: the file; no ending is added.

        Raises:
          RecyclingError: the place cannot be written to.
        """
        file = io.BytesIO()
        np.save(file, np.asarray(self.array, np.float32), allow_pickle=False)
        data = file.getvalue()
        record = {**self.record, "file_sha256": hashlib.sha256(data).hexdigest()}
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        check_writable(path)
        # First the record: a prompt that is there is never without one. The digest
        # tells whether a record belongs to the prompt beside it.
        write_atomically(record_path(path), text.encode())
        write_atomically(path, data)


def load_record(path: epath.PathLike) -> dict[str, Any]:
    """Returns the record of a prompt file.

    Raises:
      RecyclingError: there is none, or it belongs to another prompt.
    """
    beside = record_path(path)
    record = read_json(beside, f"the record of {os.fspath(path)},")
    try:
        digest = hashlib.sha256(as_path(path).read_bytes()).hexdigest()
    except storage_errors() as error:
        raise RecyclingError(f"cannot read {path}: {reason(error)}.") from error
    if not isinstance(record, dict) or record.get("file_sha256") != digest:
        raise RecyclingError(
            f"{beside} does not belong to {os.fspath(path)}: the prompt was changed or "
            "replaced after it was written. Recycle it again."
        )
    return record


def record_path(path: epath.PathLike) -> epath.Path:
    """Where the record of a prompt, or of a map, lies: `<path>.json`."""
    return as_path(os.fspath(path) + ".json")


def check_prompt(array: Float[np.ndarray, ...], where: str) -> None:
    """Raises RecyclingError unless an array is a prompt: a matrix [length, width] of
    finite floating-point numbers.

    Args:
      array: any.
      where: what it is, for the message.
    """
    if array.ndim != 2 or 0 in array.shape:
        raise RecyclingError(
            f"{where} is not a prompt: expected a matrix [length, width], found shape "
            f"{list(array.shape)}."
        )
    check_floating(array.dtype, where)
    # bfloat16 has no isfinite of its own.
    finite = np.isfinite(array.astype(np.float32)).all(axis=1)
    if not finite.all():
        raise RecyclingError(
            f"{where} has numbers that are not finite, first in row "
            f"{int(np.argmin(finite))}. Was the tuning run sound?"
        )
