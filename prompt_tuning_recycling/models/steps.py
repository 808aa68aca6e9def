"""Finds the complete steps of a `MODEL_DIR`."""

from __future__ import annotations

import contextlib
import re

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import is_remote, reason, storage_errors
from prompt_tuning_recycling.models.formats import orbax, state_file

# A step that is being written has a longer name: `checkpoint_5.tmp-1700000000`,
# `checkpoint_5.orbax-checkpoint-tmp-17`.
STEP_FOLDER = re.compile(r"checkpoint_(\d+)")


def steps(model_dir: epath.Path) -> dict[int, epath.Path]:
    """Returns the folders of all complete steps, in the order of their numbers.

    Raises:
      RecyclingError: the folder or a step in it cannot be read. If the newest step
        cannot be read, an older one is not used in its place.
    """
    found = {}
    try:
        for folder in model_dir.iterdir():
            match = STEP_FOLDER.fullmatch(folder.name)
            if not match:
                continue
            if is_complete(folder):
                found[int(match[1])] = folder
            elif folder.is_dir():
                # A running job may have removed it by now.
                with contextlib.suppress(FileNotFoundError):
                    next(folder.iterdir(), None)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot look for checkpoints in {model_dir}: {reason(error)}. Check its "
            "permissions, or the network and your credentials."
        ) from error
    return dict(sorted(found.items()))


def is_complete(step: epath.Path) -> bool:
    """Whether a step was written completely.

    T5X writes a step under a temporary name and renames it. Object stores cannot
    rename, so Orbax writes `commit_success.txt` there last. An Orbax step whose parts
    were not merged is never complete.
    """
    state = orbax.state_folder(step)
    if state is None:
        return (step / state_file.NAME).is_file()
    if not orbax.is_merged(state):
        return False
    return not is_remote(step) or (step / "commit_success.txt").exists()
