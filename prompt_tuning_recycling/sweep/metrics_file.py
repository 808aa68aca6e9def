"""The files that seqio writes metrics to: a JSON object with `step` a line."""

from __future__ import annotations

from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.files.json_files import parse_json


def read(path: epath.PathLike) -> list[dict[str, Any]]:
    """Returns a file's records, in its order, each with a whole number as `step` and at
    least one metric, whose value may be anything.

    Raises:
      RecyclingError: the file is not there, is empty, was cut off, or holds something
        else. The message begins with its name.
    """
    try:
        # A file cut off in the middle of a character is cut off, too.
        text = as_path(path).read_bytes().decode()
    except OSError as error:
        raise RecyclingError(f"{path}: {error.strerror or 'not there'}") from error
    except UnicodeDecodeError as error:
        raise RecyclingError(f"{path}: cannot be read: it is not UTF-8") from error
    if not text.strip():
        raise RecyclingError(f"{path}: empty")
    if not text.endswith("\n"):
        raise RecyclingError(
            f"{path}: cannot be read: its last line has no end, as if it were cut off"
        )
    return [
        _record(line, f"{path}: cannot be read: line {number}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def _record(line: str, where: str) -> dict[str, Any]:
    record = parse_json(line, where)
    if not isinstance(record, dict):
        raise RecyclingError(f"{where} is not an object of a step and its metrics")
    step = record.get("step")
    if isinstance(step, bool) or not isinstance(step, int):
        raise RecyclingError(f"{where} has no whole number as its step")
    if len(record) < 2:
        raise RecyclingError(f"{where} has no metrics")
    return record
