"""Writes files completely or not at all, on disk and on object stores."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Mapping
from typing import BinaryIO

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.failures import reason, storage_errors
from prompt_tuning_recycling.files.paths import as_path, is_remote
from prompt_tuning_recycling.files.temporary import (
    remove_left_behind,
    replace_folder,
    set_aside,
    temporary_file,
    temporary_folder,
)

PROBE = ".writable-"
"""How the name of an object begins that only shows that it can be written."""

# By these, as opposed to real ones, the system allows or forbids to write.
_BY_EFFECTIVE_IDS = os.access in os.supports_effective_ids


def write_atomically(path: epath.PathLike, data: bytes) -> None:
    """Writes `data` to `path` so that a reader sees the old file or the new one.

    On a local disk, the bytes go to a temporary file in the same folder, which is
    synced and then renamed; missing parent folders are created. What a killed process
    left of such files is removed. An object store replaces objects atomically, when all
    of their bytes have arrived.

    Raises:
      RecyclingError: the path cannot be written to. Nothing is left behind.
    """
    write_together({path: data})


def write_together(files: Mapping[epath.PathLike, bytes]) -> None:
    """Writes several files, each as `write_atomically` does, and waits for the disk
    only once.

    The disk gets all of them before the first is synced, and the first is renamed after
    all have been synced. They are renamed in the order given, so that no file exists
    without those before it, whenever the process ends. Until the last is renamed, those
    that are replaced have a temporary name as well; see `temporary.left_behind`.

    Args:
      files: path -> content.

    Raises:
      RecyclingError: a path cannot be written to. No temporary file is left behind. On
        a local disk, every file that existed is what it was before.
    """
    for name in files:
        # The store itself says whether it takes an object.
        if not is_remote(name):
            check_writable(name)
    path, unfinished = epath.Path(), list[_Unfinished]()
    try:
        try:
            for name, data in files.items():
                path = as_path(name)
                if is_remote(path):
                    # It has no folders, and its library would make a missing bucket.
                    path.write_bytes(data)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.append(_Unfinished.beside(path))
                unfinished[-1].file.write(data)
                unfinished[-1].file.flush()
            for one in unfinished:
                path = one.path
                os.fsync(one.file.fileno())
            for one in unfinished[:-1]:
                one.replaced = set_aside(one.path)
            for one in unfinished:
                path = one.path
                os.replace(one.temporary, one.path)
        except BaseException:
            # An interrupt may come after the last renaming.
            if any(os.path.lexists(one.temporary) for one in unfinished):
                for one in reversed(unfinished):
                    one.undo()
            raise
        finally:
            for one in unfinished:
                one.close()
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot write {path}: {reason(error)}. {_advice(path)}"
        ) from error
    remove_left_behind([one.path for one in unfinished])


def write_folder(path: epath.PathLike, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files, whole or not at all. A folder that exists is replaced,
    with all that it holds.

    On a local disk, the files go to a temporary folder beside it, which takes its place
    when they are on the disk; see `temporary.replace_folder`. On an object store, they
    are written one by one, in the order given; an earlier folder loses the last of them
    first. So the last one must be the one without which readers do not take the folder
    for what it is.

    Args:
      path: the folder; missing parents are created.
      files: name of each file -> content.

    Raises:
      RecyclingError: the folder cannot be written. On a disk, nothing is left behind.
    """
    if is_remote(path):
        _replace_objects(as_path(path), files)
        return
    check_folder_writable(path)
    path = as_path(path)
    path = epath.Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path) as temporary:
            for name, data in files.items():
                with open(os.path.join(temporary, name), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            sync(temporary)
            replace_folder(temporary, path)
            sync(path.parent)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot write {path}: {reason(error)}. Choose an output path in a folder "
            "that can be written to and has room."
        ) from error


def _replace_objects(folder: epath.Path, files: Mapping[str, bytes]) -> None:
    *_, last = files
    try:
        (folder / last).unlink(missing_ok=True)
        folder.rmtree(missing_ok=True)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot replace {folder}: {reason(error)}. {_advice(folder)}"
        ) from error
    for name, data in files.items():
        write_atomically(folder / name, data)


def check_writable(path: epath.PathLike) -> None:
    """Raises RecyclingError if it is already clear that `path` cannot be written.

    Call it before long work whose result goes to `path`.
    """
    if not os.fspath(path):
        raise RecyclingError("the output path is empty; expected the name of a file.")
    path = as_path(path)
    if is_remote(path):
        _check_bucket(path)
        return
    try:
        os.lstat(path)
    except OSError as error:
        # Missing folders are created later; a file in place of a folder is found below.
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise RecyclingError(
                f"cannot write {path}: {reason(error)}. Choose another output path."
            ) from error
    if path.is_dir():
        raise RecyclingError(
            f"cannot write {path}: it is a folder. Expected the name of a file."
        )
    _check_parent(path)


def check_folder_writable(path: epath.PathLike) -> None:
    """The same for a folder that is going to be written as a whole."""
    if not os.fspath(path):
        raise RecyclingError("the output path is empty; expected the name of a folder.")
    path = as_path(path)
    if is_remote(path):
        check_store_writable(path)
        return
    if path.exists() and not path.is_dir():
        raise RecyclingError(
            f"cannot write {path}: it is a file. Expected the name of a folder."
        )
    _check_parent(path)


def check_store_writable(folder: epath.PathLike) -> None:
    """Raises RecyclingError if a folder on an object store cannot be written to: it
    writes an empty object there and removes it. Of a disk, nothing is asked; holding
    the folder shows it.
    """
    path = as_path(folder)
    if is_remote(path):
        _check_bucket(path)
        _check_store(path)


def _check_bucket(path: epath.Path) -> None:
    bucket = as_path("/".join(os.fspath(path).split("/")[:3]))
    if bucket == path:
        raise RecyclingError(
            f"cannot write {path}: it is a bucket. Expected a name inside it."
        )
    try:
        missing = not bucket.exists()
    except PermissionError:
        # Who may write objects need not be allowed to look at their bucket.
        return
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot write {path}: {reason(error)}. Check the address, the network and "
            "your credentials."
        ) from error
    if missing:
        raise RecyclingError(
            f"cannot write {path}: there is no bucket {bucket}. Check its name, or "
            "make it first."
        )


def _check_store(folder: epath.Path) -> None:
    probe = folder / f"{PROBE}{secrets.token_hex(8)}"
    try:
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot write to {folder}: {reason(error)}. {_advice(folder)}"
        ) from error


def _advice(path: epath.Path) -> str:
    if is_remote(path):
        return (
            "Check that the bucket exists, that your credentials allow writing and "
            "deleting there, and the network."
        )
    return "Choose an output path in a folder that can be written to and has room."


def _check_parent(path: epath.Path) -> None:
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise RecyclingError(
            f"cannot write {path}: {folder} is a file, not a folder. Choose another "
            "output path."
        )
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=_BY_EFFECTIVE_IDS):
        raise RecyclingError(
            f"cannot write {path}: no permission to write to {folder}. Choose another "
            "output path."
        )


def sync(path: epath.PathLike) -> None:
    """Waits until a local file, or a folder's list of names, is on disk.

    Raises:
      OSError: it cannot be written; the error names it.
    """
    if is_remote(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        os.close(descriptor)


@dataclasses.dataclass
class _Unfinished:
    """A temporary file that is going to be renamed to `path`.

    Attributes:
      path: its path in the end.
      file: the file, whose descriptor holds its lock.
      temporary: its name.
      replaced: the file that it replaces under another name, if it is to be kept for
        now; see `temporary.set_aside`.
    """

    path: epath.Path
    file: BinaryIO
    temporary: str
    replaced: tuple[int | None, str] | None = None

    @classmethod
    def beside(cls, path: epath.Path) -> _Unfinished:
        descriptor, temporary = temporary_file(path)
        return cls(path, os.fdopen(descriptor, "wb"), temporary)

    def undo(self) -> None:
        """Removes the temporary file, or puts back what it replaced."""
        # The file itself says whether it was renamed: an interrupt may come between a
        # renaming and any note of it.
        with contextlib.suppress(OSError):
            if os.path.lexists(self.temporary):
                os.unlink(self.temporary)
            elif self.replaced is not None:
                os.replace(self.replaced[1], self.path)

    def close(self) -> None:
        # What could not be written before cannot be written while closing either.
        with contextlib.suppress(OSError):
            self.file.close()
        if self.replaced is not None:
            descriptor, name = self.replaced
            # It is gone if it was put back.
            with contextlib.suppress(OSError):
                os.unlink(name)
            if descriptor is not None:
                os.close(descriptor)
