"""Files written whole or not at all, on disk and on object stores."""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import json
import os
import re
import tempfile
import threading
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError

# What etils.epath reaches object stores through.
_LIBRARIES = {"gs": ("gcsfs", "tensorflow"), "s3": ("s3fs", "tensorflow")}

# Far beyond what any of the package's files needs, and far below where Python's own
# recursion ends.
_MOST_LEVELS = 100
_MOST_DIGITS = 18
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

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


def read_text(path: epath.PathLike, what: str) -> str:
    """Returns the text of a UTF-8 file, with or without a byte order mark.

    Args:
      path: the file.
      what: what it is, for messages: "the manifest".

    Raises:
      RecyclingError: it cannot be read, or is not UTF-8.
    """
    name = os.fspath(path)
    try:
        return as_path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or "there is no such file"
        raise RecyclingError(f"cannot read {what} {name}: {reason}.") from error
    except UnicodeDecodeError as error:
        raise RecyclingError(
            f"cannot read {what} {name}: expected UTF-8, found another byte at "
            f"{error.start}. Save it as UTF-8."
        ) from error


def parse_json(text: str, where: str, *, keys_once: bool = True) -> Any:
    """Returns what a JSON text holds, or says in one line why it cannot be used.

    What is returned can be handled without surprises: every text in it can be written
    as UTF-8, every whole number fits into 64 bits, and nothing is nested more deeply
    than 100 levels. NaN and Infinity, which Python writes into JSON, are read.

    Args:
      text: the JSON.
      where: what it is and where it lies, for messages.
      keys_once: whether to refuse an object that has a key twice, of which Python
        would take the last.

    Raises:
      RecyclingError: it is not JSON, or goes beyond the limits above.
    """

    def integer(digits: str) -> int:
        if len(digits.lstrip("-")) > _MOST_DIGITS:
            raise RecyclingError(
                f"{where} has a whole number of {len(digits.lstrip('-'))} digits. "
                f"Expected {_MOST_DIGITS} at most."
            )
        return int(digits)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = collections.Counter(key for key, _ in pairs)
            twice = counts.most_common(1)[0][0]
            raise RecyclingError(
                f"{where} has the key {twice!r} twice in one object. Remove one."
            )
        return found

    too_deep = RecyclingError(
        f"{where} is nested more deeply than {_MOST_LEVELS} levels. Is it the right "
        "file?"
    )
    try:
        value = json.loads(
            text,
            parse_int=integer,
            object_pairs_hook=members if keys_once else None,
        )
    except json.JSONDecodeError as error:
        raise RecyclingError(f"{where} is not JSON: {error}.") from error
    except RecursionError as error:
        raise too_deep from error
    if _deeper_than(value, _MOST_LEVELS):
        raise too_deep
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise RecyclingError(
                f"{where} has {character!r}, half of a character that takes two such "
                "codes. Write the whole character."
            ) from error
    return value


def read_json(path: epath.PathLike, what: str) -> Any:
    """Returns what a JSON file holds: `read_text`, then `parse_json`.

    Raises:
      RecyclingError: it cannot be read, is not UTF-8, or `parse_json` refuses it.
    """
    return parse_json(read_text(path, what), f"{what} {os.fspath(path)}")


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


def sync(path: epath.PathLike) -> None:
    """Waits until a local file, or a folder's list of names, is on the disk."""
    if is_remote(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _deeper_than(value: Any, levels: int) -> bool:
    """Whether JSON is nested more deeply; without recursion of its own."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


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
