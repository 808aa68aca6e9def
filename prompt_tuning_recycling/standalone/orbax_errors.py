"""Silences the tracebacks that Orbax's threads, tasks and futures print of an error
that saving raises.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def raised_only() -> Iterator[None]:
    """Keeps their tracebacks from the error stream inside the block, and after an error
    for good, since one may be late.
    """
    unraisable = sys.unraisablehook
    logs = [logging.getLogger(name) for name in ("absl", "asyncio")]

    def hook(found: Any) -> None:
        # Tensorstore calls back into an event loop that has ended.
        if str(found.exc_value) != "Event loop is closed":
            unraisable(found)

    for log in logs:
        log.addFilter(_is_not_of_orbax)
    sys.unraisablehook = hook
    yield
    for log in logs:
        log.removeFilter(_is_not_of_orbax)
    sys.unraisablehook = unraisable


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    # Of a task, the text has the path of its code; of a future, the path of its file.
    unseen = "exception was never retrieved" in text and "orbax" in text
    return not unseen and "_SignalingThread.run() raised" not in text
