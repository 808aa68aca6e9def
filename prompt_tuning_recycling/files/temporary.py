"""Temporary files and folders, beside the ones that they become.

They are called `.NAME.DIGEST.RANDOM.tmp`, where DIGEST is of the whole name, since NAME
may be cut. The process that writes one holds a lock on it, which the system releases
however the process ends. So the next process that writes the same file or folder can
tell what a killed one left behind, and removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator

from etils import epath

# So that people recognize it. The whole of a very long name could be too long for the
# disk.
_NAME_KEPT = 30
_ENDING = ".tmp"
# Whatever has the name: a link is not followed, and a pipe not waited for.
_TO_LOCK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CURRENT_FOLDER, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux.


def temporary_file(path: epath.PathLike) -> tuple[int, str]:
    """Makes an empty temporary file that is going to be renamed to a local path.

    Returns:
      Its descriptor, which holds the lock, and its name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return _made(path, lambda name: os.open(name, flags, 0o666))


@contextlib.contextmanager
def temporary_folder(path: epath.PathLike) -> Iterator[str]:
    """Gives an empty temporary folder that is going to be renamed to a local path, or
    exchanged with what is there. What is left under its name is removed at the end, and
    after success what killed processes left behind.
    """

    def make(name: str) -> int:
        os.mkdir(name)
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)

    descriptor, name = _made(path, make)
    try:
        yield name
    finally:
        shutil.rmtree(name, ignore_errors=True)
        os.close(descriptor)
    remove_left_behind([path])


def replace_folder(temporary: epath.PathLike, path: epath.PathLike) -> None:
    """Renames a temporary folder. If `path` exists, the two exchange their names, so
    that a reader sees the old folder or the new one at any time.

    Where the system cannot exchange names (macOS, NFS), the old folder is renamed
    first, and nothing is at `path` until the second renaming.

    Args:
      temporary: the folder; afterwards it is gone, or holds what was at `path`.
      path: a folder, which may exist. It is no link.
    """
    if not os.path.lexists(path):
        os.rename(temporary, path)
    elif not _exchanged(temporary, path):
        aside = _name(path)
        os.rename(path, aside)
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(aside, path)
            raise
        os.rename(aside, temporary)


def set_aside(path: epath.PathLike) -> tuple[int | None, str] | None:
    """Gives a file a second, temporary name, by which it can be found after the first
    is another file's.

    Returns:
      A descriptor, which holds a lock on the file (None if it is a link or may not be
      read), and the name; None if there is no such file, or the disk knows no second
      names.
    """
    name = _name(path)
    try:
        os.link(path, name)
    except OSError:
        return None
    try:
        descriptor = os.open(name, _TO_LOCK)
    except OSError:
        return None, name
    # Another process may set the same file aside, too. Where nothing can be locked,
    # nothing is ever removed as left behind.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor, name


def left_behind(paths: Iterable[epath.PathLike]) -> list[str]:
    """Returns the temporary files and folders of local paths, whether or not a process
    is still at work on them.
    """
    starts: dict[str, list[str]] = {}
    for path in paths:
        folder, start = os.path.split(_start(path))
        starts.setdefault(folder, []).append(start)
    found = []
    for folder, of_folder in starts.items():
        with contextlib.suppress(OSError):
            found += [
                os.path.join(folder, name)
                for name in os.listdir(folder)
                if name.startswith(tuple(of_folder)) and name.endswith(_ENDING)
            ]
    return sorted(found)


def remove_left_behind(paths: Iterable[epath.PathLike]) -> None:
    """Removes the temporary files and folders of local paths that no process is at work
    on.

    Call it when the paths have their new content: some of them may hold the old one.
    """
    for name in left_behind(paths):
        # Whatever cannot be opened, locked or removed stays.
        with contextlib.suppress(OSError):
            descriptor = os.open(name, _TO_LOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.isdir(name):
                    shutil.rmtree(name, ignore_errors=True)
                else:
                    os.unlink(name)
            finally:
                os.close(descriptor)


def _start(path: epath.PathLike) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return os.path.join(folder, f".{name[:_NAME_KEPT]}.{digest}.")


def _name(path: epath.PathLike) -> str:
    return f"{_start(path)}{secrets.token_hex(4)}{_ENDING}"


def _made(path: epath.PathLike, make: Callable[[str], int]) -> tuple[int, str]:
    while True:
        name = _name(path)
        with contextlib.suppress(FileExistsError):
            descriptor = make(name)
            if _is_locked(descriptor, name):
                return descriptor, name
            os.close(descriptor)


def _is_locked(descriptor: int, name: str) -> bool:
    """Locks a temporary file, or says that another process has just removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Where nothing can be locked, nothing is ever removed as left behind.
        return error.errno != errno.EWOULDBLOCK
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(name))
    except FileNotFoundError:
        return False


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """The system's function, which Python does not offer; None where there is none."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _exchanged(one: epath.PathLike, other: epath.PathLike) -> bool:
    """Exchanges the names of two folders, at once; returns whether the system can."""
    function = _renameat2()
    if function is None:
        return False
    first, second = (os.fsencode(os.path.abspath(path)) for path in (one, other))
    if function(_CURRENT_FOLDER, first, _CURRENT_FOLDER, second, _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), os.fspath(other))
