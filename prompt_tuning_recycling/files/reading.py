"""Reads whole files, which other processes may write over at the same time."""

from __future__ import annotations

import os

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.paths import as_path, is_remote


def read_whole(path: epath.PathLike) -> bytes:
    """Returns a file's content.

    A file that is replaced (a rename, an object store) is read as it was or as it is
    now. One that is written over in place could be read half old, half new; so it is
    read a second time and compared.

    Raises:
      RecyclingError: the file changed while it was being read.
      OSError: or another of `failures.storage_errors`; it cannot be read.
    """
    file = as_path(path)
    content = file.read_bytes()
    # A pipe has its content only once.
    if not is_remote(file) and os.path.isfile(file) and file.read_bytes() != content:
        raise RecyclingError(
            f"{os.fspath(path)} was changed while it was being read. Run the same "
            "command again when it is complete."
        )
    return content
