"""Vocabularies: the pieces of models' tokenizers, found beside checkpoints.

Tokenizers mark the beginning of a word in their own ways: SentencePiece writes `▁word`,
byte-level BPE `Ġword`, and WordPiece marks the other pieces instead. Here all have the
notation of SentencePiece.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    as_path,
    canonical,
    is_remote,
    names,
    read_whole,
    reason,
    storage_errors,
)
from prompt_tuning_recycling.models import tokenizer_json
from prompt_tuning_recycling.models.tokenizer_json import (
    BEGINS_WORD,
    Encode,
    Pieces,
    UnreadableError,
)

if TYPE_CHECKING:
    import sentencepiece

# The files' names in the releases of T5, of Hugging Face and of decoders. SentencePiece
# files come first: reading them needs no further library.
logger = logging.getLogger(__name__)

_NAMES = ("sentencepiece.model", "spiece.model", "tokenizer.model", "tokenizer.json")
# Room for extra ids and padding; umT5 has 300 and 84.
_MOST_ADDED = 1024
# Two libraries may differ in which pieces of one vocabulary they call special.
_SAME_PIECES = 0.99
# OpenAI's library tiktoken writes a piece in base64, and its index, on each line.
_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")


class Vocabulary:
    """The vocabulary of a model, in a SentencePiece file or a `tokenizer.json`.

    The file is read when it is made, and understood when that is first needed.

    Attributes:
      path: the file.
      sha256: the SHA-256 of its content.
    """

    def __init__(self, path: epath.PathLike) -> None:
        """Reads the file.

        Raises:
          RecyclingError: there is no such file.
        """
        self.path = as_path(path)
        try:
            self._content = read_whole(self.path)
        except storage_errors() as error:
            raise self._unreadable(reason(error)) from error
        self.sha256 = hashlib.sha256(self._content).hexdigest()

    @property
    def pieces(self) -> Pieces:
        """The pieces by row; `▁` is the mark of those that begin a word. A row that
        holds no text has None: an added or special token, a byte, an unused piece.

        Raises:
          RecyclingError: the file is neither a SentencePiece model nor a
            `tokenizer.json`, it is damaged, or the library that reads it is missing.
        """
        return self._understood[0]

    def encode(self, text: str) -> list[int]:
        """Returns the rows of a text's pieces, without special tokens.

        Raises:
          RecyclingError: as for `pieces`.
        """
        encode = self._understood[1]
        try:
            return encode(text)
        except UnreadableError as error:
            raise self._unreadable(str(error)) from error

    def row_of(self, word: str, *, at_beginning: bool = True) -> int | None:
        """Returns the row of a word that is one piece; None if it is not one.

        Args:
          word: the word, in its own case.
          at_beginning: whether to ask for the piece that begins a word, which is the
            whole word, rather than for the one that continues another.

        Raises:
          RecyclingError: as for `pieces`.
        """
        return self._rows.get(BEGINS_WORD + word if at_beginning else word)

    def is_same(self, other: Vocabulary) -> bool:
        """Whether both have the same pieces at the same rows, in files of any kind.

        Raises:
          RecyclingError: as for `pieces`.
        """
        if self.sha256 == other.sha256:
            return True
        shared = [
            (mine, its)
            for mine, its in zip(self.pieces, other.pieces, strict=False)
            if mine is not None and its is not None
        ]
        most = max(len(one.pieces) - one.pieces.count(None) for one in (self, other))
        enough = len(shared) >= _SAME_PIECES * most
        return enough and all(mine == its for mine, its in shared)

    @property
    def fewest_rows(self) -> int:
        """The fewest rows of a table that holds all pieces."""
        return max(
            (row + 1 for row, piece in enumerate(self.pieces) if piece is not None),
            default=0,
        )

    @property
    def table_sizes(self) -> tuple[int, int]:
        """The fewest and the most rows of this vocabulary's embedding tables."""
        return self.fewest_rows, len(self.pieces) + _MOST_ADDED

    @property
    def origin(self) -> dict[str, str]:
        """The path and the SHA-256 of the file, for records."""
        return {"path": canonical(self.path), "sha256": self.sha256}

    @functools.cached_property
    def _rows(self) -> Mapping[str, int]:
        rows: dict[str, int] = {}
        for row, piece in enumerate(self.pieces):
            if piece is not None:
                rows.setdefault(piece, row)
        return rows

    @functools.cached_property
    def _understood(self) -> tuple[Pieces, Encode]:
        try:
            return _reader(self._content)(self._content)
        except UnreadableError as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, found: str) -> RecyclingError:
        return RecyclingError(
            f"cannot read the vocabulary {self.path}: expected a SentencePiece model "
            "(for T5: sentencepiece.model) or a tokenizer.json, found: "
            f"{' '.join(found.split())}"
        )


def beside(checkpoint: epath.Path) -> epath.Path | None:
    """Returns the vocabulary file in a checkpoint's folder or its parent, or None."""
    for folder in (checkpoint, checkpoint.parent):
        # One request for all; on a disk, folders that cannot be listed can be read.
        held = _names(folder) if is_remote(folder) else None
        for name in _NAMES:
            if name in held if held is not None else (folder / name).is_file():
                return folder / name
    return None


def _names(folder: epath.Path) -> set[str]:
    try:
        return names(folder)
    except PermissionError:
        # Whoever may read a model need not be allowed to list the folder around it.
        found = {name for name in _NAMES if _is_readable(folder / name)}
        if not found:
            logger.warning(
                "warning: cannot see whether there is a vocabulary in %s, since it may "
                "not be listed; if there is one, give its path",
                folder,
            )
        return found


def _is_readable(file: epath.Path) -> bool:
    with contextlib.suppress(PermissionError):
        return file.is_file()
    return False


def _reader(content: bytes) -> Callable[[bytes], tuple[Pieces, Encode]]:
    """Returns the function that reads a file of this content, whatever its name."""
    if not content.strip():
        raise UnreadableError("an empty file")
    if content.lstrip()[:1] == b"{":
        return tokenizer_json.read
    if _TIKTOKEN.match(content):
        raise UnreadableError(
            "a file of the library tiktoken; give the model's tokenizer.json"
        )
    return _read_sentencepiece


def _read_sentencepiece(content: bytes) -> tuple[Pieces, Encode]:
    import sentencepiece  # Imported here because word lists do not need it.

    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise UnreadableError(str(error)) from error

    def encode(text: str) -> list[int]:
        try:
            return processor.encode(text)
        except RuntimeError as error:
            raise UnreadableError(str(error)) from error

    return _text_pieces(processor), encode


def _text_pieces(processor: sentencepiece.SentencePieceProcessor) -> Pieces:
    rows = list(range(processor.get_piece_size()))
    no_text = zip(
        processor.is_control(rows),
        processor.is_unknown(rows),
        processor.is_byte(rows),
        processor.is_unused(rows),
        strict=True,
    )
    return tuple(
        None if any(kinds) else piece
        for kinds, piece in zip(no_text, processor.id_to_piece(rows), strict=True)
    )
