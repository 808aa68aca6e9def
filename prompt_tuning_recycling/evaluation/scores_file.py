"""A prompt's scores on unlabeled inputs, by which one prompt is chosen among several:
their file and its content.

    {"format": "prompt_tuning_recycling/scores/1",
     "unlabeled": {...},            where the inputs come from
     "unlabeled_sha256": "...",     of their tokens and their choices' tokens
     "same_choices": true,          whether all inputs have the same choices
     "prompt": "...",               the prompt file's fingerprint, or null
     "scores": [[-0.1, -2.3], ...]}    log-likelihoods of the choices, input by input
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    reason,
    storage_errors,
    write_atomically,
)
from prompt_tuning_recycling.files.json_files import parse_json

if TYPE_CHECKING:
    from jaxtyping import Float

_FORMAT = "prompt_tuning_recycling/scores/1"
_FOLDER = "unlabeled-scores"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How unlabeled inputs are drawn from a task; see `choosing.unlabeled.read`.

    Attributes:
      inputs: how many.
      split: the split of the task.
      seed: the seed of the drawing.
    """

    inputs: int = 32
    split: str = "train"
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """A prompt's scores.

    Attributes:
      rows: log-likelihoods in nats of each input's choices. They may be NaN or
        infinite, if the prompt is that bad.
      origin: where the inputs come from, JSON-compatible.
      digest: SHA-256 of the inputs and their choices; see `Unlabeled.digest`.
      has_same_choices: whether the choices are the same texts for all inputs.
      prompt: the fingerprint of the prompt's file; None if that is not known.
    """

    rows: Sequence[Float[np.ndarray, " choices"]]
    origin: Mapping[str, Any]
    digest: str
    has_same_choices: bool
    prompt: str | None = None

    @property
    def sizes(self) -> list[int]:
        """How many choices each input has."""
        return [len(row) for row in self.rows]


def place(output_dir: str, drawing: Drawing) -> str:
    """Returns the file of a prompt's scores, for an evaluation's folder."""
    name = f"{drawing.split}-{drawing.inputs}-{drawing.seed}.json"
    return os.path.join(output_dir, _FOLDER, name)


def write(path: epath.PathLike, scores: Scores) -> None:
    """Writes a file, whole or not at all.

    Raises:
      RecyclingError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "unlabeled": dict(scores.origin),
        "unlabeled_sha256": scores.digest,
        "same_choices": scores.has_same_choices,
        "prompt": scores.prompt,
        "scores": [np.asarray(row, np.float64).tolist() for row in scores.rows],
    }
    write_atomically(path, (json.dumps(content, ensure_ascii=False) + "\n").encode())


def read(path: epath.PathLike) -> Scores:
    """Reads a file.

    Raises:
      RecyclingError: the file is missing, or contains something else. The message
        begins with the file's name.
    """
    try:
        text = as_path(path).read_bytes().decode()
    except storage_errors() as error:
        raise RecyclingError(f"{path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise RecyclingError(f"{path}: cannot be read: it is not UTF-8") from error
    content = parse_json(text, f"{path}: cannot be read: it")
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise RecyclingError(
            f"{path}: cannot be read: expected scores of the format {_FORMAT!r}"
        )
    try:
        rows = [np.asarray(row, np.float64) for row in content["scores"]]
        origin, digest = dict(content["unlabeled"]), content["unlabeled_sha256"]
        if not rows or any(row.ndim != 1 or not row.size for row in rows):
            raise ValueError("an input without scores")
        same = content["same_choices"]
        if not (isinstance(digest, str) and isinstance(same, bool)):
            raise ValueError(f"the digest {digest!r} and same_choices {same!r}")
        if same and len({len(row) for row in rows}) > 1:
            raise ValueError("same_choices, but not as many scores for each input")
    except (KeyError, TypeError, ValueError) as error:
        raise RecyclingError(
            f"{path}: cannot be read: expected a list of scores for each input, found: "
            f"{error}"
        ) from error
    return Scores(rows, origin, digest, same, content.get("prompt"))
