"""Prompts: read them from numpy files and checkpoints, write them with provenance.

A prompt file is a numpy array `[length, width]` under any name, as prompt-tuning
exports it (`encoder.prompt.prompt.prompt`) and reads it (`from_file.gin`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from prompt_tuning_recycling.checkpoints import (
    ArrayInMemory,
    Checkpoint,
    open_checkpoint,
)
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    check_writable,
    reason,
    storage_errors,
    write_atomically,
)
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.floats import check_floating

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

PROMPT = "target/encoder/prompt/prompt/prompt"
"""Where prompt-tuning keeps the prompt of an encoder-decoder, [length, width]."""

_PROMPT_NAME = re.compile(r"target/(.*/)?prompt")


def load_prompt(
    source: epath.PathLike | Checkpoint, name: str | None = None
) -> Float[np.ndarray, "length width"]:
    """Returns a prompt, in the dtype it is stored in.

    Args:
      source: a numpy file, a checkpoint or a path to one, or a `MODEL_DIR`.
      name: the parameter's name in a checkpoint; by default prompt-tuning's own,
        or the only parameter called `prompt`.

    Raises:
      RecyclingError: there is no prompt there, or several, or it is not a matrix of
        finite numbers.
    """
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
    name = name or find_prompt(checkpoint)
    prompt = checkpoint.read_floats(name)
    check_prompt(prompt, f"{name} of {checkpoint.path}")
    return prompt


def find_prompt(checkpoint: Checkpoint) -> str:
    """Returns the name of a checkpoint's prompt parameter.

    Raises:
      RecyclingError: it has none, or several and none where prompt-tuning puts it.
    """
    names = checkpoint.keys()
    if isinstance(checkpoint, ArrayInMemory):
        return names[0]
    if PROMPT in names:
        return PROMPT
    found = [name for name in names if _PROMPT_NAME.fullmatch(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecyclingError(
            f"{checkpoint.path} has several prompts: {', '.join(found)}. Name the one "
            "that is meant."
        )
    raise RecyclingError(
        f"{checkpoint.path} ({checkpoint.format}) holds no prompt: expected a "
        f"parameter {PROMPT}. Is this a model before prompt tuning? A prompt in a file "
        "of its own is given by its path."
    )


def check_prompt(prompt: Shaped[np.ndarray, ...], where: str) -> None:
    """Raises RecyclingError unless `prompt` is a finite matrix [length, width] of
    floating-point numbers.
    """
    if prompt.ndim != 2 or 0 in prompt.shape:
        raise RecyclingError(
            f"{where} is not a prompt: expected a matrix [length, width], found shape "
            f"{list(prompt.shape)}."
        )
    check_floating(prompt.dtype, where)
    # bfloat16 has no isfinite of its own.
    finite = np.isfinite(prompt.astype(np.float32)).all(axis=1)
    if not finite.all():
        raise RecyclingError(
            f"{where} has numbers that are not finite, first in row "
            f"{int(np.argmin(finite))}. Was the tuning run sound?"
        )


def save_prompt(
    prompt: Any,
    path: epath.PathLike,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes a prompt under exactly that name, whole or not at all, and its
    provenance to `<path>.json` beside it.

    Args:
      prompt: float [length, width], or a RecycledPrompt.
      path: the file; no ending is added.
      provenance: what to record; a RecycledPrompt brings its own report.

    Raises:
      RecyclingError: not a prompt, or the place cannot be written to.
    """
    if provenance is None:
        provenance = getattr(prompt, "report", {})
    array = np.asarray(getattr(prompt, "array", prompt))
    check_prompt(array, "the array to be saved")
    file = io.BytesIO()
    np.save(file, array.astype(np.float32), allow_pickle=False)
    data = file.getvalue()
    record = {**provenance, "file_sha256": hashlib.sha256(data).hexdigest()}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    check_writable(path)
    # First the record: a prompt that is there is never without one. The digest
    # tells whether a record belongs to the prompt beside it.
    write_atomically(provenance_path(path), text.encode())
    write_atomically(path, data)


def load_provenance(path: epath.PathLike) -> dict[str, Any]:
    """Returns the provenance of a prompt file.

    Raises:
      RecyclingError: there is none, or it belongs to another prompt.
    """
    beside = provenance_path(path)
    record = read_json(beside, f"the provenance of {os.fspath(path)},")
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


def provenance_path(path: epath.PathLike) -> epath.Path:
    """Where a prompt file's provenance lies: `<path>.json`."""
    return as_path(os.fspath(path) + ".json")
