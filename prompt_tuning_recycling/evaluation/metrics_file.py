"""An evaluation's metrics: their file, its content, and their form as text.

A file is JSON Lines: each line is an object with a `step` and its metrics.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    holding,
    is_remote,
    reason,
    storage_errors,
    write_atomically,
)
from prompt_tuning_recycling.files.json_files import parse_json, read_json
from prompt_tuning_recycling.models.steps import STEP_FOLDER

Metrics: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Task -> metric -> value."""

METRICS = "*-metrics.jsonl"
"""The pattern of the names of metrics files. When they exist, an evaluation is done."""

_FOLDER = "inference_eval"
_PROMPT = "evaluated_prompt.json"
_WRITTEN_BY_EVALUATIONS = ("unlabeled-scores", "recycled_prompt", "results_of.json")
_WRITTEN_BY_TRAINING = ("run_start.json", "train", "numpy_checkpoints")


def metrics_folder(output_dir: str) -> str:
    """Returns the folder of an evaluation's metrics, which is replaced as a whole."""
    return os.path.join(output_dir, _FOLDER)


def place(output_dir: str, task_name: str) -> str:
    """Returns the metrics file of a task, for an evaluation or a training run."""
    return os.path.join(output_dir, _FOLDER, f"{task_name}-metrics.jsonl")


def check_replaceable(output_dir: str) -> None:
    """Checks that writing an evaluation to a local folder replaces nothing but an
    earlier evaluation, and follows no links. A manifest may name any folder.

    Raises:
      RecyclingError: the folder is another one's, or a link is in the way.
    """
    if is_remote(output_dir):
        return
    check_no_links(output_dir, _FOLDER)
    names = [name for name in _names(output_dir) if name != holding.LOCK]
    if names == ["config.gin"]:
        return  # Of an evaluation whose metrics somebody has deleted.
    results = _names(os.path.join(output_dir, _FOLDER))
    # A run that was killed before it had metrics may have left TensorBoard's events.
    is_ours = any(
        name.endswith(".jsonl")
        or name == _PROMPT
        or any(
            inside.startswith("events.")
            for inside in _names(os.path.join(output_dir, _FOLDER, name))
        )
        for name in results
    )
    if any(n in _WRITTEN_BY_TRAINING or STEP_FOLDER.match(n) for n in names):
        found = "it is the folder of a training run"
    elif results and not is_ours:
        found = f"its {_FOLDER} holds {min(results)}, which no evaluation has written"
    elif "config.gin" in names and not any(
        _FOLDER in n or n in _WRITTEN_BY_EVALUATIONS for n in names
    ):
        found = "its config.gin is of something else"
    else:
        return
    raise RecyclingError(
        f"cannot evaluate to {output_dir}: {found}, which would be lost. Choose "
        "another output_dir."
    )


def check_no_links(folder: epath.PathLike, *names: str) -> None:
    """Raises RecyclingError if names in a folder are links, which whoever may write to
    the folder can plant. Call it where a library writes files by these names.

    Args:
      folder: the folder, which may be missing.
      *names: what to look at; by default, everything in the folder.
    """
    folder = as_path(folder)
    for name in names or _names(folder):
        path = os.path.join(folder, name)
        if not is_remote(path) and os.path.islink(path):
            raise RecyclingError(
                f"cannot write to {folder}: {name} is a link to {os.readlink(path)}, "
                "which would be written to instead. Remove the link, or choose another "
                "output folder."
            )


def _names(folder: epath.PathLike) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def read(path: epath.PathLike) -> list[dict[str, Any]]:
    """Returns a file's objects in order. Each has a whole number as its `step`, and at
    least one metric with any value.

    Raises:
      RecyclingError: the file is missing, is empty, was cut off, or contains
        something else. The message begins with the file's name.
    """
    try:
        # Decoded here, since a file may be cut off in the middle of a character.
        text = as_path(path).read_bytes().decode()
    except storage_errors() as error:
        raise RecyclingError(f"{path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise RecyclingError(f"{path}: cannot be read: it is not UTF-8") from error
    if not text.strip():
        raise RecyclingError(f"{path}: empty")
    if not text.endswith("\n"):
        raise RecyclingError(
            f"{path}: cannot be read: its last line has no end; it may be cut off"
        )
    return [
        _record(line, f"{path}: cannot be read: line {number}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def remove(folder: epath.Path) -> None:
    """Removes an evaluation's folder from an object store, its metrics first: without
    them, nothing that is left passes for an evaluation.

    Raises:
      RecyclingError: an object cannot be removed.
    """
    try:
        for path in sorted(folder.glob(METRICS)):
            path.unlink(missing_ok=True)
        folder.rmtree(missing_ok=True)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot replace the evaluation in {folder}: {reason(error)}."
        ) from error


def write_prompt(folder: epath.Path, digest: str) -> None:
    """Writes the digest of the prompt that an evaluation in `folder` is of."""
    text = json.dumps({"fingerprint": digest}) + "\n"
    write_atomically(folder / _PROMPT, text.encode())


def read_prompt(output_dir: str) -> str | None:
    """Returns the digest of the prompt that an evaluation is of; None if that is not
    recorded, as by `t5x.eval`; "" if the record cannot be read.
    """
    path = as_path(output_dir) / _FOLDER / _PROMPT
    try:
        if not path.exists():
            return None
        return str(read_json(path, "the prompt")["fingerprint"])
    except storage_errors(RecyclingError, KeyError, TypeError):
        return ""


def metric_lines(metrics: Metrics) -> list[str]:
    """Returns metrics as text, one line for each task."""
    return [
        f"{task}: "
        + ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )
        for task, values in metrics.items()
    ]


def _record(line: str, where: str) -> dict[str, Any]:
    record = parse_json(line, where)
    if not isinstance(record, dict):
        raise RecyclingError(f"{where} is not an object with a step and its metrics")
    step = record.get("step")
    if isinstance(step, bool) or not isinstance(step, int):
        raise RecyclingError(f"{where} has no whole number as its step")
    if len(record) < 2:
        raise RecyclingError(f"{where} has no metrics")
    return record
