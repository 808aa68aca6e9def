"""Looks into files and folders with as few requests to an object store as possible."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

from etils import epath

from prompt_tuning_recycling.files.stores import StorePath

_seen: contextvars.ContextVar[dict[StorePath, set[str]] | None]
_seen = contextvars.ContextVar("_seen", default=None)


@contextlib.contextmanager
def looking_once() -> Iterator[None]:
    """Inside the block, `names` and `is_folder` list each folder on an object store
    once; what others write there meanwhile is not seen. As a decorator, until the
    function returns.
    """
    if _seen.get() is not None:
        yield
        return
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def names(folder: epath.Path) -> set[str]:
    """Returns the names of what is in a folder; none if there is no such folder.

    On an object store, this is one request, and to ask for each name is two.

    Raises:
      OSError: the folder cannot be listed.
    """
    seen = _seen.get() if isinstance(folder, StorePath) else None
    if seen is not None and folder in seen:
        return seen[folder]
    try:
        found = {child.name for child in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        found = set()
    if seen is not None:
        seen[folder] = found
    return found


def is_folder(path: epath.Path) -> bool:
    """Whether there is a folder of this name. Inside `looking_once`, `names` of it
    costs no further request.

    Raises:
      OSError: an object store does not say.
    """
    if isinstance(path, StorePath):
        return bool(names(path)) or (path.is_bucket and path.is_dir())
    return path.is_dir()


def read_part(file: epath.Path, begin: int, end: int) -> bytes:
    """Returns some bytes of a file, from `begin` up to but without `end`; fewer if it
    ends before.

    Raises:
      OSError: the file cannot be read.
    """
    if isinstance(file, StorePath):
        return file.read_part(begin, end)
    with file.open("rb") as opened:
        opened.seek(begin)
        return bytes(opened.read(end - begin))


def file_sizes(folder: epath.Path) -> dict[epath.Path, int]:
    """Returns the size in bytes of each file in a folder and its subfolders, sorted by
    path, part by part; none if there is no such folder.

    Raises:
      OSError: a folder cannot be listed.
    """
    if isinstance(folder, StorePath):
        return dict(sorted(folder.file_sizes().items()))
    found: dict[epath.Path, int] = {}
    for child in sorted(folder.iterdir()) if folder.is_dir() else ():
        if child.is_dir():
            found |= file_sizes(child)
        else:
            found[child] = child.stat().length
    return found
