"""Words: the vocabulary rows a recycler is fitted on.

A word list is JSON, `{"<vocabulary index>": "<piece>", ...}`, in the format of the
paper's code. The package's own list (docs/word_list.md) holds the English words of
the T5 vocabulary in the order of their indices, the most frequent first. The first
1000 are skipped by default: function words and fragments of words.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, reason, storage_errors

if TYPE_CHECKING:
    from jaxtyping import Int

NUM_WORDS = 4000
WORD_OFFSET = 1000
MAX_HELD_OUT = 1000
MIN_WORDS = 2
PACKAGED_LIST = "english_words_t5.json"

# T5's 32,000 pieces, with 100 extra ids, in tables padded to a multiple of 128.
_T5_TABLES = (32_000, 32_256)
# Extra ids and padding, generously: umT5 has 300 and 84.
_MOST_ADDED = 1024
# A list of the T5 vocabulary, such as the published one, has the same pieces at the
# indices that it shares with the package's; of another vocabulary, hardly any.
_SAME_PIECES = 0.9
_ENOUGH_TO_TELL = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """The rows a recycler is fitted on, and rows it is judged on.

    Attributes:
      rows: int64 [words], vocabulary indices to fit on; one that stands twice counts
        twice.
      held_out: int64 [held_out], indices that the fit does not see, on which the
        report measures how the map generalizes; may be empty.
      pieces: index -> piece, for the indices whose piece is known.
      origin: where the rows come from, for provenance.
      table_sizes: the least and the most rows that an embedding table of the words'
        vocabulary has; None where the vocabulary is not known.

    Raises:
      RecyclingError: fewer than two different rows, or a negative one.
    """

    rows: Int[np.ndarray, words]
    held_out: Int[np.ndarray, held_out] = dataclasses.field(
        default_factory=lambda: np.zeros(0, np.int64)
    )
    pieces: Mapping[int, str] = dataclasses.field(default_factory=dict)
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    table_sizes: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        different = len(np.unique(self.rows))
        if different < MIN_WORDS:
            raise RecyclingError(
                f"a recycler is fitted on at least {MIN_WORDS} different words, found "
                f"{different}. Give more words."
            )
        if self.rows.min() < 0:
            raise RecyclingError(
                f"a vocabulary index cannot be negative, but {self.rows.min()} is "
                "among the words."
            )

    @classmethod
    def from_list(
        cls,
        path: epath.PathLike | None = None,
        num_words: int | None = NUM_WORDS,
        word_offset: int = WORD_OFFSET,
    ) -> Words:
        """The entries `word_offset` to `word_offset + num_words` of a word list.

        Held out are up to 1000 others: those that follow, then the skipped ones.

        Args:
          path: a JSON word list; None means the package's English one.
          num_words: how many; None means all from `word_offset` on.
          word_offset: how many to skip at the beginning.

        Raises:
          RecyclingError: the list is malformed, or too short for these numbers.
        """
        pieces, digest = _load(path)
        name = f"packaged:{PACKAGED_LIST}" if path is None else str(as_path(path))
        if word_offset < 0 or (num_words is not None and num_words < MIN_WORDS):
            raise RecyclingError(
                f"expected num_words of at least {MIN_WORDS} and word_offset of at "
                f"least 0, got {num_words} and {word_offset}."
            )
        wanted = MIN_WORDS if num_words is None else num_words
        if len(pieces) < word_offset + wanted:
            raise RecyclingError(
                f"the word list {name} has {len(pieces)} words: too few to skip "
                f"{word_offset} and take {wanted}. Lower word_offset or num_words, "
                "or give a longer list."
            )
        of_t5 = path is None or _are_of_t5(pieces)
        end = len(pieces) if num_words is None else word_offset + num_words
        indices = np.fromiter(pieces, np.int64, len(pieces))
        others = np.concatenate([indices[end:], indices[:word_offset]])
        return cls(
            rows=indices[word_offset:end],
            held_out=others[:MAX_HELD_OUT],
            pieces=pieces,
            origin={
                "word_list": name,
                "word_list_sha256": digest,
                "num_words": end - word_offset,
                "word_offset": word_offset,
            },
            table_sizes=_T5_TABLES if of_t5 else None,
        )

    @classmethod
    def from_text(cls, text: str, vocabulary: epath.PathLike) -> Words:
        """The pieces of a text, in order, as often as they occur in it (as for the
        paper's "wayward" prompts, fitted on the text that they keep close to).

        Args:
          text: any text.
          vocabulary: the model's SentencePiece file.

        Raises:
          RecyclingError: no such vocabulary, half a character in the text, or fewer
            than two different pieces.
        """
        _check_text(text, "the text to take words from")
        processor = load_vocabulary(vocabulary)
        indices = processor.encode(text)
        return cls(
            rows=np.asarray(indices, np.int64),
            pieces={index: processor.id_to_piece(index) for index in indices},
            origin={"text": text, "vocabulary": str(as_path(vocabulary))},
            table_sizes=table_sizes(processor),
        )

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[int] | Int[np.ndarray, words],
        held_out: Sequence[int] = (),
    ) -> Words:
        """Rows given outright.

        Raises:
          RecyclingError: not whole numbers, or as for the class.
        """
        return cls(
            rows=_as_indices(rows),
            held_out=_as_indices(held_out),
            origin={"rows": "given outright"},
        )


def of_another_vocabulary(
    sizes: tuple[int, int] | None, rows: int, where: str
) -> str | None:
    """Returns a warning if words cannot be those of a model, which its size tells.

    Args:
      sizes: what tables of the words' vocabulary have; see `Words.table_sizes`.
      rows: what the model's embedding table has.
      where: the model's path.
    """
    if sizes is None or sizes[0] <= rows <= sizes[1]:
        return None
    return (
        f"the words are of another vocabulary than the model {where}: its embedding "
        f"table has {rows} rows, where that of the words' vocabulary has {sizes[0]} to "
        f"{sizes[1]}. The same indices are other pieces there, whatever they are. Give "
        "a list of the model's own vocabulary (--filtered_word, WORD_LIST in gin; "
        "filter_vocabulary makes one), or its own SentencePiece file."
    )


def table_sizes(vocabulary: Any) -> tuple[int, int]:
    """The least and the most rows that tables of a SentencePiece vocabulary have."""
    pieces = vocabulary.vocab_size()
    return pieces, pieces + _MOST_ADDED


def load_vocabulary(path: epath.PathLike) -> Any:
    """Returns the `sentencepiece.SentencePieceProcessor` of a model file.

    Raises:
      RecyclingError: there is no such file, or it is not a SentencePiece model.
    """
    import sentencepiece  # Not needed for word lists; kept out of their start-up.

    path = as_path(path)
    try:
        model = path.read_bytes()
        # SentencePiece takes an empty file for "load later".
        if not model:
            raise RuntimeError("an empty file")
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except storage_errors(RuntimeError) as error:
        raise RecyclingError(
            f"cannot read the vocabulary {path}: expected a SentencePiece model "
            f"(for T5: sentencepiece.model), found: {error}"
        ) from error


def _load(path: epath.PathLike | None) -> tuple[dict[int, str], str]:
    """A list's index -> piece, and the SHA-256 of its file."""
    if path is None:
        data = importlib.resources.files(__package__).joinpath("data", PACKAGED_LIST)
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
        _check_text(piece, f"the word list {path}, entry {key}")
        if int(key) in pieces:
            raise RecyclingError(
                f"the word list {path} has the vocabulary index {key} more than once."
            )
        pieces[int(key)] = piece
    return pieces


def _are_of_t5(pieces: Mapping[int, str]) -> bool:
    """Whether a list is one of the T5 vocabulary, by its pieces."""
    t5, _ = _load(None)
    shared = pieces.keys() & t5.keys()
    same = sum(pieces[index] == t5[index] for index in shared)
    return len(shared) >= _ENOUGH_TO_TELL and same >= _SAME_PIECES * len(shared)


def _is_index(key: str) -> bool:
    # Longer ones are no numbers of 64 bits, and Python reads only so many digits.
    return key.isdecimal() and len(key) <= 19 and int(key) <= np.iinfo(np.int64).max


def _check_text(text: str, where: str) -> None:
    """Half a character (a lone surrogate) cannot be written to a record."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecyclingError(
            f"{where}: expected text in UTF-8, found {text[error.start]!a} in it."
        ) from error


def _as_indices(rows: Sequence[int] | Int[np.ndarray, words]) -> np.ndarray:
    array = np.asarray(rows)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise RecyclingError(
            f"rows must be a list of whole numbers, got dtype {array.dtype} with shape "
            f"{array.shape}."
        )
    return array.astype(np.int64)
