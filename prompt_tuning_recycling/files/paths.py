"""Paths as users give them, local or on object stores."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import TypeVar, cast

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import stores

One = TypeVar("One")


def as_path(path: epath.PathLike) -> epath.Path:
    """Returns a path that also reads and writes `gs://` and `s3://`.

    Every path that a user gives passes through this function. A leading `~` or `~user`
    is a home folder; no shell expands it in a gin file or after a flag's `=`. For a
    file whose own name begins with `~`, give `./~name`.

    Raises:
      RecyclingError: the kind of address is not supported, or its library is not
        installed; the home folder is not known; or the name is not UTF-8, so that no
        record could hold it.
    """
    text = os.fspath(path)
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme not in stores.LIBRARIES:
            raise RecyclingError(
                f"cannot use {path}: expected a local path, gs:// or s3://, found "
                f"{scheme}://."
            )
        _check_name(text)
        if not rest.split("/")[0]:
            raise RecyclingError(
                f"cannot use {path}: it names no bucket. Expected {scheme}://BUCKET/NAME."
            )
        if importlib.util.find_spec(stores.LIBRARIES[scheme]):
            return stores.StorePath(text)
        if scheme == "gs" and _has_tensorflow():
            return epath.Path(text)
        raise RecyclingError(
            f"{scheme}:// needs a library that is not installed. Run: pip install "
            f"'prompt_tuning_recycling[{scheme}]'"
        )
    if text.startswith(tuple(f"{scheme}:/" for scheme in stores.LIBRARIES)):
        raise RecyclingError(
            f"cannot use {path}: one slash is missing. Expected "
            f"{text[:3]}//BUCKET/NAME, or ./{text} for a local path."
        )
    if text.startswith("~"):
        text = _in_home_folder(text)
    absolute = _absolute(text)
    _check_name(absolute)
    local = epath.Path(text)
    # pathlib turns ./~name into ~name, which would be a home folder the next time.
    return epath.Path(absolute) if os.fspath(local).startswith("~") else local


def as_list(given: One | Sequence[One]) -> list[One]:
    """Returns what a user gave, one path or a list or tuple of them, as a list."""
    return list(given) if isinstance(given, (list, tuple)) else [cast("One", given)]


def is_remote(path: epath.PathLike) -> bool:
    """Whether `path` is on an object store (`gs://...`, `s3://...`)."""
    return "://" in os.fspath(path)


def absolute(path: epath.PathLike) -> str:
    """Returns an absolute path, with `~` expanded and links as they are."""
    path = os.fspath(as_path(path))
    return path if is_remote(path) else os.path.abspath(path)


def canonical(path: epath.PathLike) -> str:
    """Returns a path's canonical spelling: absolute, without links, `~`, `./`, or a
    slash at the end.
    """
    path = os.fspath(as_path(path))
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def _has_tensorflow() -> bool:
    """Whether etils.epath reaches gs:// through TensorFlow."""
    unwanted = os.environ.get("EPATH_USE_TF", "").lower() in ("false", "no", "f", "0")
    return not unwanted and importlib.util.find_spec("tensorflow") is not None


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
