"""Word lists: files that say which entries of a vocabulary are words.

A word list is JSON, `{"<vocabulary index>": "<piece>", ...}`, in the format of the
paper's code. The package's list (docs/word_list.md) holds the English words of the T5
vocabulary in the order of their indices, with the most frequent words first.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import os
from collections.abc import Mapping

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import read_whole, reason, storage_errors
from prompt_tuning_recycling.files.json_files import check_few_values

PACKAGED = "english_words_t5.json"

# A list of the T5 vocabulary, such as the published one, has the same pieces as the
# package's list at the indices that both have. A list of another vocabulary has hardly
# any.
_SAME_PIECES = 0.9
_ENOUGH_TO_TELL = 100
_LARGEST_INDEX = np.iinfo(np.int64).max


def load(path: epath.PathLike | None) -> tuple[dict[int, str], str]:
    """Reads a word list.

    Args:
      path: the list's file; None for the package's English list.

    Returns:
      The pieces by their vocabulary indices, in the list's order, and the SHA-256 of
      the file.

    Raises:
      RecyclingError: there is no such file, or it is not a word list.
    """
    if path is None:
        pieces, digest = _packaged()
        return dict(pieces), digest
    try:
        content = read_whole(path)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot read the word list {os.fspath(path)}: {reason(error)}. "
            'Expected a JSON file {"<vocabulary index>": "<piece>", ...}.'
        ) from error
    return _parse(content, path), hashlib.sha256(content).hexdigest()


def is_of_t5(pieces: Mapping[int, str]) -> bool:
    """Whether a list's pieces show that it is a list of the T5 vocabulary."""
    t5, _ = _packaged()
    shared = pieces.keys() & t5.keys()
    same = sum(pieces[index] == t5[index] for index in shared)
    return len(shared) >= _ENOUGH_TO_TELL and same >= _SAME_PIECES * len(shared)


def check_text(text: str, where: str) -> None:
    """Raises RecyclingError if a text has half a character (a lone surrogate), which
    no record can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecyclingError(
            f"{where}: expected text in UTF-8, found {text[error.start]!a} in it."
        ) from error


@functools.cache
def _packaged() -> tuple[Mapping[int, str], str]:
    data = importlib.resources.files(__package__).joinpath("data", PACKAGED)
    content = data.read_bytes()
    return _parse(content, None), hashlib.sha256(content).hexdigest()


def _parse(content: bytes, path: epath.PathLike | None) -> dict[int, str]:
    expected = 'expected JSON {"<vocabulary index>": "<piece>", ...}'
    check_few_values(content, f"the word list {path}")
    try:
        entries = json.loads(content, object_pairs_hook=list)
    # Python raises these for numbers of 5,000 digits and for lists nested 1,000 deep.
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
    # Longer numbers do not fit into 64 bits, and Python limits the digits it reads.
    return key.isdecimal() and len(key) <= 19 and int(key) <= _LARGEST_INDEX
