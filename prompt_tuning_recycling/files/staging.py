"""Folders on object stores, for libraries that write only to disks.

TensorFlow, through which seqio and clu write, has no file system for S3 and one for
Google's store that knows only Google's own address. Orbax renames what it has written
to S3, which there means one copy after another.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fnmatch
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from prompt_tuning_recycling.files.contents import names
from prompt_tuning_recycling.files.failures import storage_errors
from prompt_tuning_recycling.files.holding import SHARED, Hold
from prompt_tuning_recycling.files.paths import as_path, is_remote
from prompt_tuning_recycling.files.writing import write_atomically

# Most of the time they wait for the network.
_THREADS = 8


class Staged:
    """A folder that a library writes to.

    On a disk, it is the folder itself. On an object store, it is a temporary folder on
    the disk whose files `publish` copies to the store. An object appears there as a
    whole, in place of its earlier version; nothing is removed.

    Attributes:
      local: the folder to write to, a path on the disk.
    """

    def __init__(
        self, folder: epath.PathLike, local: epath.PathLike, hold: Hold = SHARED
    ) -> None:
        """Takes the folder, the path on the disk, and what holds the folder."""
        self.local = epath.Path(local)
        self._hold = hold
        self._folder = as_path(folder)
        self._sent: dict[str, tuple[int, int]] = {}
        self._published = time.monotonic()

    def fetch(self, pattern: str) -> None:
        """Copies the store's files whose names match a pattern, such as `*.jsonl`, to
        the temporary folder, because the library adds to them.

        Raises:
          OSError: or another of `failures.storage_errors`; they cannot be read.
        """
        if not self._is_apart:
            return
        for name in fnmatch.filter(names(self._folder), pattern):
            content = (self._folder / name).read_bytes()
            (self.local / name).write_bytes(content)
            self._sent[name] = self._state(name)

    def publish(self, last: Sequence[str] = (), *, seconds_apart: float = 0) -> None:
        """Copies what was written since the last time to the store.

        Args:
          last: patterns of the names whose files say that the others are complete. They
            are copied last, in this order.
          seconds_apart: does nothing if less time has passed since the last time.

        Raises:
          BusyError: another run has taken over the folder.
          RecyclingError: an object cannot be written.
        """
        if not self._is_apart or time.monotonic() - self._published < seconds_apart:
            return
        self._hold.check()
        for group in _in_order(self._names(), last):
            with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
                # As a list, so that the first error is raised here.
                list(threads.map(self._send, group))
        self._published = time.monotonic()

    def _send(self, name: str) -> None:
        try:
            # Before the content, which may grow meanwhile.
            state = self._state(name)
            if self._sent.get(name) == state:
                return
            content = (self.local / name).read_bytes()
        except FileNotFoundError:
            # The library has renamed or removed it.
            return
        write_atomically(self._folder / name, content)
        self._sent[name] = state

    @property
    def _is_apart(self) -> bool:
        return is_remote(self._folder)

    def _names(self) -> Iterator[str]:
        for where, _, files in os.walk(self.local):
            for file in files:
                yield os.path.relpath(os.path.join(where, file), self.local)

    def _state(self, name: str) -> tuple[int, int]:
        found = os.stat(self.local / name)
        return found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def scratch_folder() -> Iterator[epath.Path]:
    """Gives an empty folder on the disk, in `TMPDIR`, and removes it at the end."""
    with tempfile.TemporaryDirectory(prefix="prompt_tuning_recycling.") as folder:
        yield epath.Path(folder)


@contextlib.contextmanager
def staged(
    folder: epath.PathLike, last: Sequence[str] = (), hold: Hold = SHARED
) -> Iterator[Staged]:
    """Gives a folder that a library writes to, and publishes what it has written at the
    end, even after an error, so that the logs of a run that fails can be read.

    Args:
      folder: the folder, on a disk or on an object store.
      last: see `Staged.publish`.
      hold: what holds the folder; nothing is published if another run took over.

    Raises:
      RecyclingError: an object cannot be written.
    """
    if not is_remote(folder):
        yield Staged(folder, as_path(folder))
        return
    with scratch_folder() as temporary:
        made = Staged(folder, temporary, hold)
        try:
            yield made
        except BaseException:
            # The first error is the one to report.
            with contextlib.suppress(*storage_errors(ValueError)):
                made.publish(last)
            raise
        made.publish(last)


def _in_order(files: Iterable[str], last: Sequence[str]) -> list[list[str]]:
    """Returns the names in groups: first those that match no pattern of `last`, then
    those of each pattern.
    """
    groups: list[list[str]] = [[] for _ in range(len(last) + 1)]
    for name in files:
        matching = [n for n, p in enumerate(last, 1) if fnmatch.fnmatchcase(name, p)]
        groups[max(matching, default=0)].append(name)
    return groups
