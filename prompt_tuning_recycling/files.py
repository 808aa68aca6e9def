"""Files written whole or not at all, on disk and on object stores."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
import threading

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError

# What etils.epath reaches object stores through.
_LIBRARIES = {"gs": ("gcsfs", "tensorflow"), "s3": ("s3fs", "tensorflow")}

# The umask can only be read by changing it, which no other thread's reading may see.
_READING_UMASK = threading.Lock()


def as_path(path: epath.PathLike) -> epath.Path:
    """Returns the path as one that also reads and writes `gs://` and `s3://`.

    Raises:
      RecyclingError: another kind of address, or the library for it is missing.
    """
    scheme, separator, _ = os.fspath(path).partition("://")
    if separator:
        if scheme not in _LIBRARIES:
            raise RecyclingError(
                f"cannot use {path}: expected a local path, gs:// or s3://, found "
                f"{scheme}://."
            )
        if not any(importlib.util.find_spec(name) for name in _LIBRARIES[scheme]):
            raise RecyclingError(
                f"{scheme}:// needs a library that is not installed. Run: pip install "
                f"'prompt_tuning_recycling[{scheme}]'"
            )
    return epath.Path(path)


def write_atomically(path: epath.PathLike, data: bytes) -> None:
    """Writes `data` to `path` so that a reader sees the old file or the new one.

    On a local disk the bytes go to a temporary file in the same folder, reach
    the disk (fsync), and are renamed; missing parent folders are made. An
    object store (`gs://`) replaces objects atomically by itself.

    Raises:
      RecyclingError: the place cannot be written to. Nothing is left behind.
    """
    check_writable(path)
    path = as_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_remote(path):
            path.write_bytes(data)
        else:
            _replace(os.fspath(path), data)
    except OSError as error:
        raise RecyclingError(
            f"cannot write {path}: {error.strerror or error}. Choose an output "
            "path in a folder that can be written to."
        ) from error


def check_writable(path: epath.PathLike) -> None:
    """Raises RecyclingError if `path` can be seen not to be a writable file.

    Meant to be called before long work whose result goes to `path`.
    """
    if not os.fspath(path):
        raise RecyclingError("the output path is empty; expected the name of a file.")
    path = as_path(path)
    if is_remote(path):
        return
    if path.is_dir():
        raise RecyclingError(
            f"cannot write {path}: it is a folder. Expected the name of a file."
        )
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise RecyclingError(
            f"cannot write {path}: {folder} is a file, not a folder. Choose another "
            "output path."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RecyclingError(
            f"cannot write {path}: no permission to write to {folder}. Choose another "
            "output path."
        )


def is_remote(path: epath.PathLike) -> bool:
    """Whether `path` lies on an object store (`gs://...`, `s3://...`)."""
    return "://" in os.fspath(path)


def canonical(path: epath.PathLike) -> str:
    """The one spelling of a path: absolute, without links, `~`, `./` and slashes at the
    end.
    """
    path = os.fspath(as_path(path))
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def sync(path: epath.PathLike) -> None:
    """Waits until a local file, or a folder's list of names, is on the disk."""
    if is_remote(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: str, data: bytes) -> None:
    folder, name = os.path.split(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(
        dir=folder, prefix=f".{name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    with _READING_UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask
