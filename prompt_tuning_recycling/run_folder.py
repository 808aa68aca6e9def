"""A run's folder: it keeps the prompts that were made for the run and what the run was
started with, and a lock lets only one run at a time work in it.

A run that is started again is compared with what the folder keeps, so that no record in
it describes something that did not happen. Two spellings of one path count as the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import pydantic
from etils import epath

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, is_remote, write_atomically
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.initial_prompts import (
    InitialPrompt,
    place,
)
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.models.layouts.t5x import site_of
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record

if TYPE_CHECKING:
    from jaxtyping import Float

logger = logging.getLogger(__name__)

_FORMAT = "prompt_tuning_recycling/run/1"
_START = "run_start.json"
# Stands for the declaration of a prompt that comes from the checkpoint.
_STORED = {"kind": "the checkpoint's own prompt"}


def make_prompts(
    kinds: Mapping[str, InitialPrompt],
    expected: contract.Shapes,
    target: Model,
    output_dir: epath.PathLike | None = None,
) -> dict[str, Float[np.ndarray, "length width"]]:
    """Makes a model's initial prompts, one for each site of a model that has several.

    A recycled or chosen prompt is written with its record to a subfolder of
    `output_dir` (see `InitialPrompt.kept_in`). A run that is started again takes it
    from there, because the source may be gone by then.

    Args:
      kinds: name of a prompt -> how to make it.
      expected: name -> shape of each of the model's prompts, including those that are
        not made here.
      target: the model that the prompts are for.
      output_dir: the run's folder; None if nothing is to be kept.

    Returns:
      The prompts by name, float32.

    Raises:
      RecyclingError: as `InitialPrompt.make`; a prompt does not have the shape that the
        model expects; or the kept prompt was recycled with other settings.
    """
    made = {}
    for name, kind in kinds.items():
        shape = expected[name]
        one_of_several = None if len(expected) == 1 else name
        kept = None
        if kind.kept_in is not None and output_dir is not None:
            kept = _kept(output_dir, kind.kept_in, one_of_several)
        if kept is not None and kept.exists():
            check_kept(kind, output_dir, one_of_several)
            logger.info("taking the prompt that was made before, %s", kept)
            prompt, where = load_prompt(kept), f"the prompt that is kept, {kept},"
        else:
            site = None if one_of_several is None else site_of(name)
            prompt = kind.make(target, shape[0], site)
            where = f"what {type(kind).__name__} makes for {target.path}"
        contract.check_shape(name, prompt.array.shape, shape, where)
        if kept is not None and not kept.exists():
            prompt.save(kept)
        made[name] = np.ascontiguousarray(prompt.array, np.float32)
    return made


def check_kept(
    kind: InitialPrompt | None,
    output_dir: epath.PathLike | None,
    site: str | None = None,
) -> None:
    """Raises RecyclingError if the folder keeps a prompt that was made with other
    settings than those declared now.

    Args:
      kind: what is declared.
      output_dir: the run's folder.
      site: the prompt's name in a model that has several prompts.
    """
    if kind is None or kind.kept_in is None or output_dir is None:
        return
    kept = _kept(output_dir, kind.kept_in, site)
    if kept.exists():
        then = load_record(kept).get("declared", {})
        _compare(
            then,
            kind.declared(),
            f"{kept.parent} holds a prompt that this run has made before,",
            "Choose another output folder, or delete that one to make it again.",
        )


@contextlib.contextmanager
def held(folder: epath.PathLike) -> Iterator[None]:
    """Locks a folder against other processes on this file system. The system releases
    the lock when the process ends, even after a crash. On an object store it does
    nothing, because a folder there cannot be locked.

    Raises:
      RecyclingError: another process has locked it, or it cannot be written to.
    """
    if is_remote(folder):
        yield
        return
    folder = as_path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(os.fspath(folder / "run.lock"))
        holding = lock.acquire(blocking=False)
    except filelock.Timeout as error:
        raise RecyclingError(
            f"another run is at work in {folder}. Wait until it ends, or choose "
            "another MODEL_DIR."
        ) from error
    except OSError as error:
        raise RecyclingError(
            f"cannot write to {folder}: {error.strerror or error}. Choose another "
            "MODEL_DIR."
        ) from error
    with holding:
        yield


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
        _compare(then, now, what, advice)
        # A prompt that came from the checkpoint needs no default.
        kind = declared or (default if self.initial_prompt else None)
        asked = kind.declared() if kind else _STORED
        for before in self.initial_prompt.values() or (_STORED,):
            _compare(before, asked, what, advice)


def write_start(folder: epath.PathLike, start: Start) -> None:
    """Records in a run's folder what it starts with."""
    record = {"format": _FORMAT, **dataclasses.asdict(start)}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_atomically(as_path(folder) / _START, text.encode())


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


def _kept(output_dir: epath.PathLike, folder: str, site: str | None) -> epath.Path:
    name = "prompt" if site is None else site.replace("/", ".")
    return as_path(output_dir) / folder / f"{name}.npy"


def _compare(
    then: Mapping[str, Any], now: Mapping[str, Any], what: str, advice: str
) -> None:
    for name in dict.fromkeys([*now, *then]):
        before, after = then.get(name), now.get(name)
        if not _same(before, after):
            raise RecyclingError(
                f"{what} with {name} {_text(before)}, but now {name} is "
                f"{_text(after)}. {advice}"
            )


def _same(then: Any, now: Any) -> bool:
    if isinstance(then, Mapping) and isinstance(now, Mapping) and "path" in now:
        return bool(set(then.values()) & set(now.values()))
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return all(map(_same, then, now))
    return bool(then == now)


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and "path" in value:
        value = value["path"]
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)
