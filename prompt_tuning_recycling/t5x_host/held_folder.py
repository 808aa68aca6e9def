"""The folder of a training run, which process 0 holds until it ends."""

from __future__ import annotations

import atexit
import contextlib

from etils import epath

from prompt_tuning_recycling import run_folder
from prompt_tuning_recycling.files import absolute
from prompt_tuning_recycling.files.holding import Hold

_held: dict[str, Hold] = {}


def hold(folder: epath.PathLike) -> None:
    """Holds a folder, unless this process does already.

    Raises:
      BusyError: another run is at work there.
      RecyclingError: it cannot be written to.
    """
    place = absolute(folder)
    if place not in _held:
        holding = contextlib.ExitStack()
        _held[place] = holding.enter_context(run_folder.held(folder))
        atexit.register(holding.close)


def check(folder: epath.PathLike) -> None:
    """Raises BusyError if another run has taken over the folder that this process
    held; see `files.holding`. Of any other folder, nothing is known.
    """
    place = absolute(folder)
    if place in _held:
        _held[place].check()
