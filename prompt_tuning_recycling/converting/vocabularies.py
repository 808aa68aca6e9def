"""Copies a model's vocabulary file with it."""

from __future__ import annotations

import os

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, reason, storage_errors
from prompt_tuning_recycling.models import Model, vocabularies


def file_of(model: Model) -> epath.Path | None:
    """Returns the vocabulary file that was given with a model or is beside it."""
    if model.vocabulary_file is not None:
        return as_path(model.vocabulary_file)
    return vocabularies.beside(model.path) if model.checkpoint.is_stored else None


def copy(file: epath.Path, folder: epath.Path, name: str) -> None:
    """Copies a vocabulary file.

    Raises:
      RecyclingError: it cannot be read.
    """
    try:
        content = file.read_bytes()
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot read the vocabulary {os.fspath(file)}: {reason(error)}."
        ) from error
    (folder / name).write_bytes(content)
