"""A piece of a sweep's work whose worker dies the first time, while it holds a map."""

import os
import pathlib
import signal

from prompt_tuning_recycling.files import holding


def work(folder: str) -> int:
    """Returns the process that did it."""
    place = pathlib.Path(folder)
    with holding.held(place / "map.lock", "others work", "Wait.", wait=True):
        try:
            (place / "begun").touch(exist_ok=False)
        except FileExistsError:
            (place / "done").write_text(str(os.getpid()))
            return os.getpid()
        os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
