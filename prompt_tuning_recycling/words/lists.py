"""Word lists: files that say which entries of a vocabulary are words.

A word list is JSON, `{"<vocabulary index>": "<piece>", ...}`, in the format of the
paper's code. The package's own list (docs/word_list.md) holds the English words of
the T5 vocabulary in the order of their indices, the most frequent first.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
from collections.abc import Mapping

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, reason, storage_errors

PACKAGED = "english_words_t5.json"

# A list of the T5 vocabulary, such as the published one, has the same pieces at the
# indices that it shares with the package's; of another vocabulary, hardly any.
_SAME_PIECES = 0.9
_ENOUGH_TO_TELL = 100


def load(path: epath.PathLike | None) -> tuple[dict[int, str], str]:
    """Reads a word list.

    Args:
      path: its file; None for the package's English list.

    Returns:
      The pieces by their vocabulary indices, in the list's order, and the SHA-256 of
      its file.

    Raises:
      RecyclingError: there is no such file, or it is no word list.
    """
    if path is None:
        data = importlib.resources.files(__package__).joinpath("data", PACKAGED)
        content = data.read_bytes()
    else:
        try:
            content = as_path(path).read_bytes()
        except storage_errors() as error:
            raise RecyclingError(
                f"cannot read the word list {os.fspath(path)}: {reason(error)}. "
                'Expected a JSON file {"<vocabulary index>": "<piece>", ...}.'
            ) from error
    return _parse(content, path), hashlib.sha256(content).hexdigest()


def is_of_t5(pieces: Mapping[int, str]) -> bool:
    """Whether a list is one of the T5 vocabulary, by its pieces."""
    t5, _ = load(None)
    shared = pieces.keys() & t5.keys()
    same = sum(pieces[index] == t5[index] for index in shared)
    return len(shared) >= _ENOUGH_TO_TELL and same >= _SAME_PIECES * len(shared)


def check_text(text: str, where: str) -> None:
    """Half a character (a lone surrogate) cannot be written to a record."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecyclingError(
            f"{where}: expected text in UTF-8, found {text[error.start]!a} in it."
        ) from error


def _parse(content: bytes, path: epath.PathLike | None) -> dict[int, str]:
    expected = 'expected JSON {"<vocabulary index>": "<piece>", ...}'
    try:
        entries = json.loads(content, object_pairs_hook=list)
    # Python reads neither numbers of 5,000 digits nor lists 1,000 deep.
    except (ValueError, RecursionError) as error:
        raise RecyclingError(
            f"the word list {path} is malformed: {expected}, found: {error}"
        ) from error
    is_object = isinstance(entries, list) and all(
        isinstance(entry, tuple) for entry in entries
    )
    if not is_object or not entries:
        raise RecyclingError(f"the word list {path} is malformed or empty: {expected}.")
    pieces: dict[int, str] = {}
    for key, piece in entries:
        if not _is_index(key) or not isinstance(piece, str):
            raise RecyclingError(
                f"the word list {path} is malformed: {expected}, found the entry "
                f"{ascii(key)[:80]}: {ascii(piece)[:80]}."
            )
        check_text(piece, f"the word list {path}, entry {key}")
        if int(key) in pieces:
            raise RecyclingError(
                f"the word list {path} has the vocabulary index {key} more than once."
            )
        pieces[int(key)] = piece
    return pieces


def _is_index(key: str) -> bool:
    # Longer ones are no numbers of 64 bits, and Python reads only so many digits.
    return key.isdecimal() and len(key) <= 19 and int(key) <= np.iinfo(np.int64).max
