"""A run's folder: it records what the run was started with, and only one run at a time
works in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import pydantic
from etils import epath

from prompt_tuning_recycling.declarations import check_same
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, holding, write_atomically
from prompt_tuning_recycling.files.json_files import json_text, read_json
from prompt_tuning_recycling.initial_prompts import (
    InitialPrompt,
    place,
)

_FORMAT = "prompt_tuning_recycling/run/1"
_START = "run_start.json"
# Stands for the declaration of a prompt that comes from the checkpoint.
_STORED = {"kind": "the checkpoint's own prompt"}


def held(
    folder: epath.PathLike, macro: str = "MODEL_DIR"
) -> contextlib.AbstractContextManager[holding.Hold]:
    """Holds a run's folder against other runs; see `files.holding`.

    Args:
      folder: the folder, which is made if it is missing.
      macro: what users call it.

    Raises:
      BusyError: another run is at work there.
      RecyclingError: it cannot be written to.
    """
    place = os.path.join(os.fspath(as_path(folder)), holding.LOCK)
    what = f"another run is at work in {os.fspath(folder)}"
    advice = f"Wait until it ends, or choose another {macro}."
    return holding.held(place, what, advice)


@dataclasses.dataclass(frozen=True)
class Start:
    """What a training run is started with.

    Attributes:
      step: the step that it starts at.
      initial_checkpoint: the checkpoint that it starts from; None for a random model.
      initial_prompt: name -> what is declared, for each prompt that is made; the others
        come from the checkpoint.
      seed: the seed of the run's random numbers; None if the host does not give it.
    """

    step: int
    initial_checkpoint: Mapping[str, str] | None
    initial_prompt: Mapping[str, Mapping[str, Any]]
    seed: int | None = None

    @classmethod
    def of(
        cls,
        step: int,
        checkpoint: epath.PathLike | None,
        kinds: Mapping[str, InitialPrompt],
        seed: int | None = None,
    ) -> Start:
        """Returns the start from a checkpoint with prompts of these kinds."""
        return cls(
            step,
            None if checkpoint is None else place(checkpoint),
            {name: kind.declared() for name, kind in kinds.items()},
            seed,
        )

    def check(
        self,
        checkpoint: epath.PathLike | None,
        declared: InitialPrompt | None,
        default: InitialPrompt | None,
        seed: int | None = None,
    ) -> None:
        """Raises RecyclingError unless the run is now told to start as it did before.

        Args:
          checkpoint: the checkpoint that it is now told to start from.
          declared: the initial prompt that is declared now, if any.
          default: the initial prompt if none is declared.
          seed: as above.
        """
        what = "the run in this MODEL_DIR was started"
        advice = "Start it as it was started before, or choose another MODEL_DIR."
        then = {"initial_checkpoint": self.initial_checkpoint, "seed": self.seed}
        place_now = None if checkpoint is None else place(checkpoint)
        now = {"initial_checkpoint": place_now, "seed": seed}
        check_same(then, now, what, advice)
        # A prompt that came from the checkpoint needs no default.
        kind = declared or (default if self.initial_prompt else None)
        asked = kind.declared() if kind else _STORED
        for before in self.initial_prompt.values() or (_STORED,):
            check_same(before, asked, what, advice)


def write_start(folder: epath.PathLike, start: Start) -> None:
    """Records in a run's folder what it starts with."""
    record = {"format": _FORMAT, **dataclasses.asdict(start)}
    write_atomically(as_path(folder) / _START, json_text(record).encode())


def read_start(folder: epath.PathLike) -> Start | None:
    """Returns what an earlier run in this folder was started with, or None if that is
    not recorded.

    Raises:
      RecyclingError: the record is damaged.
    """
    path = as_path(folder) / _START
    if not path.exists():
        return None
    try:
        record = read_json(path, "the start of the run,")
        if record.pop("format") != _FORMAT:
            raise ValueError("another format")
        return pydantic.TypeAdapter(Start).validate_python(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecyclingError(
            f"cannot go on with the run in {folder}: expected what it was started with "
            f"in {path}, found: {error}. To start a new run from its checkpoint, give "
            "that as INITIAL_CHECKPOINT_PATH and choose another MODEL_DIR."
        ) from error
