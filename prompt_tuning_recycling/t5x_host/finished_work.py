"""What T5X has finished in an output folder and does not do again: inference on a task,
and the evaluation of one of several steps. T5X does not see that the prompt is another.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, write_atomically
from prompt_tuning_recycling.files.json_files import json_text, read_json

logger = logging.getLogger(__name__)

_FORMAT = "prompt_tuning_recycling/results/1"
_RECORD = "results_of.json"
_MARKS = ("*.COMPLETED", "eval.*.ckpt")
_PARTS = "tmp-*-of-*"


def keep_only_of(output_dir: epath.PathLike, what: Mapping[str, Any]) -> None:
    """Records what the results in a folder are of. If they are of something else, T5X's
    marks are removed, so that it does its work again.

    Args:
      output_dir: the folder.
      what: the model and its prompt, JSON-compatible.

    Raises:
      RecyclingError: the record cannot be written.
    """
    path = as_path(output_dir) / _RECORD
    record = {"format": _FORMAT, **what}
    if path.exists():
        try:
            then = read_json(path, "the record of the results")
        except RecyclingError:
            then = None
        if then == record:
            return
        forget(output_dir)
    write_atomically(path, json_text(record).encode())


def forget(output_dir: epath.PathLike) -> None:
    """Removes T5X's marks of finished work, and what it keeps of unfinished work."""
    folder = as_path(output_dir)
    found = [path for mark in _MARKS for path in folder.glob(mark)]
    parts = list(folder.glob(_PARTS))
    if found or parts:
        logger.warning(
            "warning: the results in %s are of another model or prompt, and are made "
            "again",
            folder,
        )
    for path in found:
        path.unlink(missing_ok=True)
    for part in parts:
        part.rmtree(missing_ok=True)
