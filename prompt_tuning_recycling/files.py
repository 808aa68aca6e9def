"""Paths as a user gives them, and files written whole or not at all, on disk and on
object stores.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
import threading

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError

# What etils.epath reaches object stores through.
_LIBRARIES = {"gs": ("gcsfs", "tensorflow"), "s3": ("s3fs", "tensorflow")}

# What those libraries raise that is no OSError: the module, and its error.
_STORE_ERRORS = (
    ("tensorflow.python.framework.errors_impl", "OpError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
)

# Enough of a file's name to recognize its temporary one, which is longer than the
# name, by: the longest names would otherwise have none.
_NAME_KEPT = 30

# The umask can only be read by changing it, which no other thread's reading may see.
_READING_UMASK = threading.Lock()


def as_path(path: epath.PathLike) -> epath.Path:
    """Returns the path as one that also reads and writes `gs://` and `s3://`.

    Every path that a user gives comes in here. `~` and `~user` at its beginning are
    home folders, which no shell has replaced in a gin file or behind a flag's `=`; a
    file whose own name begins with `~` is given as `./~name`.

    Raises:
      RecyclingError: another kind of address, or the library for it is missing; a
        home folder that is not known; a name that is not UTF-8, which could not be
        recorded after the work.
    """
    text = os.fspath(path)
    scheme, separator, _ = text.partition("://")
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
        _check_name(text)
        return epath.Path(text)
    if text.startswith("~"):
        text = _in_home_folder(text)
    absolute = _absolute(text)
    _check_name(absolute)
    local = epath.Path(text)
    # pathlib makes ~name of ./~name, which would be a home folder the next time.
    return epath.Path(absolute) if os.fspath(local).startswith("~") else local


def _in_home_folder(text: str) -> str:
    expanded = os.path.expanduser(text)
    if not expanded.startswith("~"):
        return expanded
    user = text.partition("/")[0].removeprefix("~")
    missing = f"there is no user {user!r}" if user else "no home folder is known"
    raise RecyclingError(
        f"cannot use {text}: {missing} on this machine. Give the whole path, or "
        f"./{text} for a name that begins with ~."
    )


def _absolute(text: str) -> str:
    try:
        return os.path.abspath(text)
    except FileNotFoundError as error:
        raise RecyclingError(
            f"cannot use {text}: the current folder was deleted. Change to another "
            "one, or give the whole path."
        ) from error


def _check_name(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecyclingError(
            f"cannot use the path {text!a}: expected a name in UTF-8, found other "
            "bytes in it. Rename the file or folder."
        ) from error
    if "\0" in text:
        raise RecyclingError(
            f"cannot use the path {text!a}: no file's name has a null character."
        )


def store_errors() -> tuple[type[Exception], ...]:
    """The errors of the object stores' libraries that are no OSError, of those that
    were imported. To be called where an error is caught: until then none may be.
    """
    return tuple(
        getattr(sys.modules[module], name)
        for module, name in _STORE_ERRORS
        if module in sys.modules
    )


def storage_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What reading and writing raise, wherever it is: OSError and `store_errors`.

    Args:
      more: further errors to catch with them.
    """
    return (OSError, *store_errors(), *more)


def reason(error: Exception) -> str:
    """What a storage error says went wrong, on one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".")


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
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot write {path}: {reason(error)}. Choose an output path in a folder "
            "that can be written to and has room."
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
    try:
        os.lstat(path)
    except OSError as error:
        # What is not there yet will be made; a file in a folder's place is found below.
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise RecyclingError(
                f"cannot write {path}: {reason(error)}. Choose another output path."
            ) from error
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
        dir=folder, prefix=f".{name[:_NAME_KEPT]}.", suffix=".tmp"
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
