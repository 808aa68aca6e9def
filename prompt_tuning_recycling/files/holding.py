"""Lets one process at a time work on an output.

The holder's details are in a file, by which others say who is at work. On a disk, the
file is locked as well, and the system releases the lock however the process ends, so
what a killed process left in it keeps nobody away. On an object store nothing can be
locked: there the newest process takes over, and the one before it finds another token
in the file and stops. No decision compares times, since clocks differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import os
import secrets
import shlex
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.contents import read_part
from prompt_tuning_recycling.files.failures import reason, storage_errors
from prompt_tuning_recycling.files.paths import as_path, is_remote
from prompt_tuning_recycling.files.writing import write_atomically

LOCK = "run.lock"
"""The file by which a folder is held."""

_FORMAT = "prompt_tuning_recycling/holder/1"
_START = b'{"format": "prompt_tuning_recycling/holder/'
# More than any holder's details; a file may be planted by somebody else.
_MOST_BYTES = 1 << 14
_LONGEST_COMMAND = 300
# Far more than it takes while many processes come and go.
_MOST_TRIES = 1000
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process that works on an output.

    Attributes:
      host, process, command: where it runs, its number and its command line.
      since: when it began, by its own clock, as text for people.
      token: a random text that tells it from every other.
    """

    host: str
    process: int
    command: str
    since: str
    token: str

    @classmethod
    def here(cls) -> Holder:
        """Returns this process, with a new token."""
        return cls(
            socket.gethostname(),
            os.getpid(),
            shlex.join(sys.argv)[:_LONGEST_COMMAND],
            time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            secrets.token_hex(16),
        )

    def to_bytes(self) -> bytes:
        """Returns the content of a holder's file: one line of JSON."""
        record = {"format": _FORMAT, **dataclasses.asdict(self)}
        return json.dumps(record).encode() + b"\n"

    def __str__(self) -> str:
        return (
            f"process {self.process} on {self.host} ({self.command}), since "
            f"{self.since}"
        )


class BusyError(RecyclingError):
    """Another process works on the output.

    Attributes:
      holder: that process; None if it is not known.
    """

    def __init__(self, what: str, holder: Holder | None, advice: str) -> None:
        super().__init__(f"{what}{'' if holder is None else f': {holder}'}. {advice}")
        self.holder = holder


class Hold(Protocol):
    """An output that is held."""

    def check(self) -> None:
        """Raises BusyError if another process has taken over, which can happen only
        where nothing can be locked. Call it before results are written.
        """


@contextlib.contextmanager
def held(
    place: epath.PathLike, what: str, advice: str, *, wait: bool = False
) -> Iterator[Hold]:
    """Holds an output against other processes. Missing folders are made. At the end,
    the file is removed, and so are the folders made here that are empty.

    Args:
      place: the file of the holder's details, in or beside the output.
      what: what another holder means, such as "another run is at work in /runs/a".
      advice: what to do then, a sentence.
      wait: whether to wait until others have ended; on an object store, nothing is held
        then.

    Raises:
      BusyError: another process holds it.
      RecyclingError: the file cannot be written, or is something else.
    """
    place = as_path(place)
    if is_remote(place):
        shared = contextlib.nullcontext(SHARED)
        hold = shared if wait else taken_over(place, what, advice)
    else:
        hold = _locked(place, what, advice, wait)
    with hold as found:
        yield found


@contextlib.contextmanager
def taken_over(place: epath.PathLike, what: str, advice: str) -> Iterator[Hold]:
    """Holds an output where nothing can be locked; see `held`. A process that holds it
    already is told apart at its next check.
    """
    taken = _Taken(as_path(place), what, advice, Holder.here())
    taken.begin()
    try:
        yield taken
    finally:
        taken.end()


class _Uncontested:
    """An output that no other process can take over: it is locked, or shared."""

    def check(self) -> None:
        """Does nothing."""


SHARED: Hold = _Uncontested()
"""An output that several processes may work on at once."""


@contextlib.contextmanager
def _locked(place: epath.Path, what: str, advice: str, wait: bool) -> Iterator[Hold]:
    made = [folder for folder in place.parents if not folder.exists()]
    with contextlib.ExitStack() as stack:
        for folder in reversed(made):
            stack.callback(_remove, os.rmdir, folder)
        try:
            descriptor, is_ours = _opened(os.fspath(place))
            if not is_ours and wait:
                holder = _parsed(_content(descriptor))
                os.close(descriptor)
                logger.info("waiting: %s%s", what, f": {holder}" if holder else "")
                descriptor, is_ours = _opened(os.fspath(place), wait)
            stack.callback(os.close, descriptor)
            before = _content(descriptor)
            if not is_ours:
                holder = _parsed(before)
                is_known = holder is not None and not _has_ended(holder)
                raise BusyError(what, holder if is_known else None, advice)
            if not _is_ours(before):
                raise RecyclingError(
                    f"cannot lock {place}: expected the file by which a run holds its "
                    "output, found something else. Rename it, or choose another "
                    "output path."
                )
            # While it is locked: whoever waits for it sees that it was removed, and
            # makes a new one.
            stack.callback(_remove, os.unlink, place)
            written = os.pwrite(descriptor, Holder.here().to_bytes(), 0)
            os.ftruncate(descriptor, written)
        except OSError as error:
            raise RecyclingError(
                f"cannot write to {place.parent}: {reason(error)} ({place.name}). "
                "Make room, or choose another output path."
            ) from error
        yield _Uncontested()


def _opened(place: str, wait: bool = False) -> tuple[int, bool]:
    """Returns the descriptor of a file, and whether this process has locked it. A link
    in its place is not followed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    folder = os.path.dirname(place) or "."
    for _ in range(_MOST_TRIES):
        # The process that held it before removes its folder, too, at any moment.
        try:
            os.makedirs(folder, exist_ok=True)
            descriptor = os.open(place, flags, 0o666)
        except FileNotFoundError:
            continue
        except FileExistsError:
            if _is_no_folder(folder):
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # The process that held it before may have removed it meanwhile.
            if os.fstat(descriptor).st_nlink:
                return descriptor, True
        except BlockingIOError:
            return descriptor, False
        except BaseException as error:
            os.close(descriptor)
            if getattr(error, "errno", None) in _NO_LOCKS:
                raise RecyclingError(
                    f"cannot lock {place}: its file system has no locks. Mount it with "
                    "locks (Lustre: flock), or choose an output path elsewhere."
                ) from error
            raise
        os.close(descriptor)
    raise OSError(errno.ENOENT, "no file can be made there", place)


def _is_no_folder(path: str) -> bool:
    """Whether something else has this name."""
    try:
        return not stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _content(descriptor: int) -> bytes:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return b"not a file"
    return os.pread(descriptor, _MOST_BYTES, 0)


def _is_ours(content: bytes) -> bool:
    """Whether a file is empty, or begins as a holder's does, even if a process was
    killed while it wrote it or the machine lost its power.
    """
    start = content.rstrip(b"\0")[: len(_START)]
    return _START.startswith(start)


def _remove(how: Callable[[epath.Path], None], path: epath.Path) -> None:
    """Removes what nothing depends on, such as a folder that is empty."""
    with contextlib.suppress(OSError):
        how(path)


class _Taken:
    """A file on an object store that the newest process has written."""

    def __init__(
        self, place: epath.Path, what: str, advice: str, holder: Holder
    ) -> None:
        self._place, self._what, self._advice = place, what, advice
        self._holder = holder

    def begin(self) -> None:
        earlier = _read(self._place)
        write_atomically(self._place, self._holder.to_bytes())
        if earlier is not None:
            logger.warning(
                "warning: %s says that %s: %s. If that run was killed, all is well; if "
                "not, it stops before it writes again",
                self._place,
                self._what,
                earlier,
            )

    def check(self) -> None:
        now = _read(self._place)
        if now is not None and now.token == self._holder.token:
            return
        what = f"{self._what} and has taken over"
        stops = "This one stops; what it has written is whole."
        raise BusyError(what, now, f"{stops} {self._advice}")

    def end(self) -> None:
        # What cannot be read or removed is left over, as by a process that was killed.
        with contextlib.suppress(*storage_errors(RecyclingError)):
            now = _read(self._place)
            if now is not None and now.token == self._holder.token:
                self._place.unlink(missing_ok=True)


def _read(place: epath.Path) -> Holder | None:
    """Returns the holder whose details a file has; None if it has none.

    Raises:
      RecyclingError: the store does not say.
    """
    try:
        return _parsed(read_part(place, 0, _MOST_BYTES))
    except FileNotFoundError:
        return None
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot see whether another run is at work ({place}): {reason(error)}. "
            "Check the network, and that your credentials allow reading and listing "
            "there."
        ) from error


def _parsed(content: bytes) -> Holder | None:
    # A line, since the rest may be of a longer one that is being replaced.
    try:
        record = json.loads(content.split(b"\n")[0])
        if record.pop("format") != _FORMAT:
            return None
        holder = Holder(**record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    texts = (holder.host, holder.command, holder.since, holder.token)
    is_number = type(holder.process) is int and 0 < holder.process < 1 << 31
    return holder if is_number and all(isinstance(t, str) for t in texts) else None


def _has_ended(holder: Holder) -> bool:
    """Whether these are the details of a process of this machine that is gone. Then the
    one that holds the lock has not written its own yet.
    """
    if holder.host == socket.gethostname():
        try:
            os.kill(holder.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # It is another user's.
    return False
