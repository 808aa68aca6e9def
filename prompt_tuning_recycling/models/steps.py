"""Finds the complete steps of a `MODEL_DIR`."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import is_remote, names, reason, storage_errors
from prompt_tuning_recycling.models.formats import orbax, state_file

logger = logging.getLogger(__name__)

# A step that is being written has a longer name: `checkpoint_5.tmp-1700000000`,
# `checkpoint_5.orbax-checkpoint-tmp-17`.
STEP_FOLDER = re.compile(r"checkpoint_(\d+)")


def steps(model_dir: epath.Path) -> dict[int, epath.Path]:
    """Returns the folders of all complete steps, in the order of their numbers.

    Raises:
      RecyclingError: the folder or a step in it cannot be read. If the newest step
        cannot be read, an older one is not used in its place.
    """
    with _reading(model_dir):
        folders = step_folders(model_dir).items()
        return {number: folder for number, folder in folders if is_complete(folder)}


def newest_step(model_dir: epath.Path) -> epath.Path | None:
    """Returns the folder of the newest complete step; None if there is none. It looks
    into no other, and warns of newer ones that are not complete.

    Raises:
      RecyclingError: as `steps`.
    """
    passed_over: list[str] = []
    with _reading(model_dir):
        for folder in reversed(step_folders(model_dir).values()):
            why = _why_incomplete(folder)
            if why is None:
                for newer in passed_over:
                    logger.warning("warning: taking %s, because %s", folder, newer)
                return folder
            passed_over.append(f"{folder.name} {why}")
    return None


def step_folders(model_dir: epath.Path) -> dict[int, epath.Path]:
    """Returns what is called like a step, complete or not, in the order of numbers."""
    matches = map(STEP_FOLDER.fullmatch, names(model_dir))
    found = {int(match[1]): model_dir / match[0] for match in matches if match}
    return dict(sorted(found.items()))


def is_complete(step: epath.Path) -> bool:
    """Whether a step was written completely.

    T5X writes a step under a temporary name and renames it. Object stores cannot
    rename, so a step that Orbax saved has to say there that it is complete; see
    `orbax.is_marked`. An Orbax step whose parts were not merged is never complete.
    """
    return _why_incomplete(step) is None


def incomplete_steps(model_dir: epath.Path) -> list[str]:
    """Returns what the incomplete steps lack, for messages, newest first."""
    folders = reversed(step_folders(model_dir).values())
    reasons = [(folder, _why_incomplete(folder)) for folder in folders]
    return [f"{folder.name} {why}" for folder, why in reasons if why is not None]


def _why_incomplete(step: epath.Path) -> str | None:
    state = orbax.state_folder(step)
    if state is None:
        held = names(step)
        return None if state_file.NAME in held else "holds no checkpoint that is whole"
    if not orbax.is_merged(state):
        return "was not saved completely: Orbax did not merge its parts"
    if is_remote(step) and not orbax.is_marked(step):
        return (
            "lacks commit_success.txt, with which Orbax says on object stores that a "
            "step is whole (if it was copied there from a disk, give its own path, or "
            "put an empty file of this name into it)"
        )
    return None


@contextlib.contextmanager
def _reading(model_dir: epath.Path) -> Iterator[None]:
    try:
        yield
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot look for checkpoints in {model_dir}: {reason(error)}. Check its "
            "permissions, or the network and your credentials."
        ) from error
