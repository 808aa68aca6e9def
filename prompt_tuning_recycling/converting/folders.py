"""A folder that is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    check_writable,
    is_remote,
    storage_errors,
    sync,
)
from prompt_tuning_recycling.files.failures import disk_reason
from prompt_tuning_recycling.files.temporary import temporary_folder


def check_new(path: epath.PathLike) -> None:
    """Raises RecyclingError unless a new local folder can be made at `path`."""
    if not os.fspath(path):
        raise RecyclingError("the output path is empty; expected the name of a folder.")
    if is_remote(path):
        raise RecyclingError(
            f"cannot write {path}: expected a local folder, which is renamed when it "
            "is complete; object stores cannot rename. Copy the folder there "
            "afterwards."
        )
    if os.path.lexists(as_path(path)):
        raise RecyclingError(
            f"cannot write {path}: it exists already, and a conversion replaces "
            "nothing. Choose another output path, or remove it."
        )
    check_writable(path)


@contextlib.contextmanager
def new_folder(path: epath.PathLike) -> Iterator[epath.Path]:
    """Gives a temporary folder beside `path` to write to. At the end, its content is
    synced and it is renamed; after an error, it is removed. What a killed process
    leaves of it, the next one that writes `path` removes.

    Raises:
      RecyclingError: it cannot be written, or `path` exists by now.
    """
    final = epath.Path(os.path.abspath(as_path(path)))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(final) as name:
            temporary = epath.Path(name)
            yield temporary
            _sync_all(temporary)
            check_new(final)
            os.rename(temporary, final)
            sync(final.parent)
    except RecyclingError:
        raise
    except storage_errors(ValueError) as error:
        if (why := disk_reason(error)) is None:
            raise
        raise RecyclingError(
            f"cannot write {path}: {why}. Nothing is left of it. Make room, or choose "
            "another output path."
        ) from error


def _sync_all(folder: epath.Path) -> None:
    for place, _, files in os.walk(folder):
        for file in files:
            sync(os.path.join(place, file))
        sync(place)
