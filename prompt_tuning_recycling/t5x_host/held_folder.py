"""The folder of a run, which process 0 holds until it ends."""

from __future__ import annotations

import atexit
import contextlib

from etils import epath

from prompt_tuning_recycling import run_folder
from prompt_tuning_recycling.files import absolute
from prompt_tuning_recycling.files.holding import Hold

_held: dict[str, Hold] = {}


def hold(folder: epath.PathLike, macro: str = "MODEL_DIR") -> None:
    """Holds a folder, unless this process does already.

    Args:
      folder: the folder, which is made if it is missing.
      macro: what users call it.

    Raises:
      BusyError: another run is at work there.
      RecyclingError: it cannot be written to.
    """
    place = absolute(folder)
    if place not in _held:
        stack = contextlib.ExitStack()
        _held[place] = stack.enter_context(run_folder.held(folder, macro))
        atexit.register(stack.close)


def check(folder: epath.PathLike) -> None:
    """Raises BusyError if another run has taken over the folder that this process
    held; see `files.holding`. Does nothing for a folder that it does not hold.
    """
    place = absolute(folder)
    if place in _held:
        _held[place].check()
