"""Watches a reader: what it raises, how long it takes, and how much memory."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import resource
import time
import traceback

from .targets import Target

MOST_SECONDS = 5.0
"""How much of a processor's time a reader may take."""

MOST_MEMORY = 200 << 20
"""How many bytes it may take, besides twice the size of its files."""

# The peak is left alone until it has grown by this much, which takes less time, and so
# is known to as much.
_MUCH = 16 << 20

_PACKAGE = "prompt_tuning_recycling"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a reader should not have done.

    Attributes:
      what: what it did, on one line.
      where: what tells it from others: the kind of error and where it was raised.
      traceback: for people.
    """

    what: str
    where: str
    traceback: str = ""

    @property
    def name(self) -> str:
        """A short name for files."""
        return hashlib.sha256(self.where.encode()).hexdigest()[:12]


def watched(target: Target, folder: pathlib.Path, data: bytes) -> Finding | None:
    """Runs a target on an input and returns what it should not have done, if any.

    What takes too much is tried once more, since the first run may have waited for
    others or imported a library.
    """
    found = _watched(target, folder, data)
    if found is not None and not found.traceback:
        found = _watched(target, folder, data)
    return found


def _watched(target: Target, folder: pathlib.Path, data: bytes) -> Finding | None:
    before = _peak()
    started = time.process_time()
    try:
        target.run(folder, data)
    except Exception as error:
        return _of_error(error)
    finally:
        grown = _peak() - before
        if grown > _MUCH:
            reset_peak()
    taken = time.process_time() - started
    if taken > MOST_SECONDS:
        return Finding(f"took {taken:.1f} s", "seconds")
    if grown > 2 * len(data) + MOST_MEMORY:
        return Finding(f"took {grown >> 20} MiB for {len(data)} bytes", "memory")
    return None


def _of_error(error: Exception) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in frame.filename] or frames
    # The last place in the package tells findings apart.
    place = f"{pathlib.Path(ours[-1].filename).name}:{ours[-1].lineno}"
    what = f"{type(error).__name__} at {place}: {str(error)[:120]!a}"
    text = "".join(traceback.format_exception(error))
    return Finding(what, f"{type(error).__name__} {place}", text)


def _peak() -> int:
    """Returns the most bytes that the process has had since `reset_peak`."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def reset_peak() -> None:
    """Begins anew with the most memory that the process has had."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:  # Only Linux has it.
        pass


def of_status(name: str) -> int:
    """Returns one of the process's sizes, in bytes; 0 if the system does not say."""
    try:
        with open("/proc/self/status") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text.split(f"{name}:")[1].split()[0]) << 10
