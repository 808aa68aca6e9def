"""Finds a model's embedding table among its tensors."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models.formats.base import Checkpoint

_MOST_NAMES = 8


def find_table(checkpoint: Checkpoint, endings: Sequence[str], why: str) -> str:
    """Returns the name of the only tensor with one of these endings.

    Args:
      checkpoint: the model.
      endings: what the table's name is, or ends in after a dot, best first.
      why: what tells that these are the endings, for the message.

    Raises:
      RecyclingError: there is none, or there are several.
    """
    for ending in endings:
        found = [
            name for name in checkpoint.keys() if f".{name}".endswith(f".{ending}")
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise RecyclingError(
                f"{checkpoint.path} has {len(found)} tables {ending}: "
                f"{', '.join(found[:_MOST_NAMES])}. {how_to_name_it()}"
            )
    raise unknown_table(checkpoint, f"{why} expects {' or '.join(endings)}")


def unknown_table(checkpoint: Checkpoint, why: str) -> RecyclingError:
    """Returns the error for a model whose table is not known."""
    matrices = [name for name in checkpoint.keys() if len(checkpoint.shape(name)) == 2]
    # A table has more rows than any other matrix has.
    matrices.sort(key=lambda name: -checkpoint.shape(name)[0])
    shown = [f"{name} {list(checkpoint.shape(name))}" for name in matrices]
    return RecyclingError(
        f"{checkpoint.path}: it is not known which tensor is the embedding table: "
        f"{why}. Its largest matrices are {', '.join(shown[:_MOST_NAMES]) or 'none'}. "
        f"{how_to_name_it()}"
    )


def how_to_name_it() -> str:
    """Returns what to do about a table that is not found."""
    return (
        "Name the table: --source_embedding_name or --target_embedding_name, in gin "
        "SOURCE_EMBEDDING_NAME or TARGET_EMBEDDING_NAME."
    )
