"""`Prompt`: an array, its site in a model, its record, and its file.

A prompt file is a numpy array `[length, width]` under any name, as prompt-tuning
exports it (`encoder.prompt.prompt.prompt`) and reads it (`from_file.gin`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    is_remote,
    reason,
    storage_errors,
    write_together,
)
from prompt_tuning_recycling.files.json_files import json_text, read_json
from prompt_tuning_recycling.files.temporary import left_behind, remove_left_behind
from prompt_tuning_recycling.models.floats import check_floating
from prompt_tuning_recycling.models.formats import safetensors

if TYPE_CHECKING:
    from jaxtyping import Float

USUAL_SITE = "encoder"
"""The site of an encoder-decoder's prompt."""

ADAPTER_RECORD = "prompt.json"
"""The file of a prompt's record in the folder of its adapter."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """A soft prompt.

    Attributes:
      array: float16, bfloat16, float32 or float64 [length, width], finite.
      site: where it belongs in a model: `encoder`, or the name of its parameter.
      record: says where it comes from, JSON-compatible; `save` writes it to a file.

    Raises:
      RecyclingError: the array is not a matrix of finite floating-point numbers.
    """

    array: Float[np.ndarray, "length width"]
    site: str = USUAL_SITE
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_prompt(self.array, "the prompt")

    def save(self, path: epath.PathLike) -> None:
        """Writes the prompt as float32 to a file, whole or not at all, and its record
        to `<path>.json` beside it.

        Args:
          path: the exact name of the file; no extension is added.

        Raises:
          RecyclingError: a file cannot be written.
        """
        write_together(self.files(path))

    def files(self, path: epath.PathLike) -> dict[epath.PathLike, bytes]:
        """Returns the files that `save` writes: path -> content. The record comes
        first, so that no prompt is ever without one. A digest in it tells whether it
        belongs to the prompt beside it.
        """
        file = io.BytesIO()
        array = self.array.astype(np.float32, copy=False)
        np.save(file, array, allow_pickle=False)
        data = file.getvalue()
        record = {**self.record, "file_sha256": hashlib.sha256(data).hexdigest()}
        return {record_path(path): json_text(record).encode(), path: data}


def load_record(path: epath.PathLike, *, aside: bool = True) -> dict[str, Any]:
    """Returns the record of a prompt file, or of an adapter that `save_adapter` wrote.

    Args:
      path: the prompt's file, or the adapter's folder.
      aside: whether to take the record of before if a writer was killed when it had
        replaced the record alone.

    Raises:
      RecyclingError: there is none, or it belongs to another prompt.
    """
    file, beside = as_path(path), record_path(path)
    # What cannot be looked at cannot be read either; reading it says why.
    with contextlib.suppress(*storage_errors()):
        if not beside.exists() and (file / ADAPTER_RECORD).exists():
            file, beside = file / safetensors.ADAPTER, file / ADAPTER_RECORD
    record = read_json(beside, f"the record of {os.fspath(path)},")
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except storage_errors() as error:
        raise RecyclingError(f"cannot read {path}: {reason(error)}.") from error
    if not _belongs(record, digest):
        for name in left_behind([beside]) if aside and not is_remote(beside) else []:
            with contextlib.suppress(RecyclingError):
                record = read_json(name, "the record of before,")
                if _belongs(record, digest):
                    return record
        raise RecyclingError(
            f"{beside} does not belong to {os.fspath(path)}, which was changed or "
            "replaced after it was written. Recycle it again."
        )
    return record


def tidy(path: epath.PathLike) -> None:
    """Removes what killed writers left of a prompt file and its record, if the two
    belong together.
    """
    with contextlib.suppress(RecyclingError):
        load_record(path, aside=False)
        if not is_remote(path):
            remove_left_behind([path, record_path(path)])


def _belongs(record: Any, digest: str) -> bool:
    return isinstance(record, dict) and record.get("file_sha256") == digest


def record_path(path: epath.PathLike) -> epath.Path:
    """Returns where the record of a prompt or a map is: `<path>.json`."""
    return as_path(os.fspath(path) + ".json")


def check_prompt(array: Float[np.ndarray, ...], where: str) -> None:
    """Raises RecyclingError unless an array is a prompt: a matrix [length, width] of
    finite floating-point numbers.

    Args:
      array: any array.
      where: what the array is, for the message.
    """
    if array.ndim != 2 or 0 in array.shape:
        raise RecyclingError(
            f"{where} is not a prompt: expected a matrix [length, width], found shape "
            f"{list(array.shape)}."
        )
    check_floating(array.dtype, where)
    # bfloat16 has no isfinite of its own.
    finite = np.isfinite(array.astype(np.float32, copy=False)).all(axis=1)
    if not finite.all():
        raise RecyclingError(
            f"{where} has numbers that are not finite, first in row "
            f"{int(np.argmin(finite))}. Did the tuning diverge?"
        )
