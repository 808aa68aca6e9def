"""Reads `tokenizer.json`, the file of Hugging Face's library tokenizers."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.json_files import check_few_values

Pieces: TypeAlias = tuple[str | None, ...]
"""Pieces by row, in SentencePiece's notation; None for a row that holds no text."""

Encode: TypeAlias = Callable[[str], list[int]]
"""Turns a text into the rows of its pieces."""

BEGINS_WORD = "\u2581"
"""SentencePiece's mark on pieces that begin a word."""

# Rows for bytes and for later use, which tokenizers do not tell from text.
_NO_TEXT = re.compile(r"<0x[0-9A-Fa-f]{2}>|[\[<]unused_?\d+[\]>]")


# Gemma's has two million values in 33 MB.
_MOST_VALUES, _LARGEST = 4_000_000, 1 << 28
# Vocabularies have up to a million.
_MOST_ROWS = 1 << 24


class UnreadableError(Exception):
    """A vocabulary file cannot be read; its text says what was found instead."""


def read(content: bytes) -> tuple[Pieces, Encode]:
    """Reads a byte-level BPE, Unigram or WordPiece tokenizer, or a BPE that writes
    spaces as SentencePiece does.

    Args:
      content: of a `tokenizer.json`.

    Returns:
      Its pieces, and the function that splits a text into them.

    Raises:
      UnreadableError: the content is no such file.
      RecyclingError: the library tokenizers is not installed.
    """
    spec = _parse(content)
    in_notation = _notation(spec)
    try:
        import tokenizers  # Only models with such a file need it.
    except ImportError as error:
        raise RecyclingError(
            "reading a tokenizer.json needs the library tokenizers, which is not "
            "installed. Run: pip install 'prompt_tuning_recycling[tokenizers]'"
        ) from error
    try:
        tokenizer = tokenizers.Tokenizer.from_str(content.decode())
    # The library raises no narrower error, for damage of any kind.
    except Exception as error:
        raise UnreadableError(f"a tokenizer.json that is damaged: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pieces: list[str | None] = [None] * _size(tokenizer)
    special = {*tokenizer.get_added_tokens_decoder(), *_unknown(spec, tokenizer)}
    for piece, row in tokenizer.get_vocab(with_added_tokens=False).items():
        if row not in special and not _NO_TEXT.fullmatch(piece):
            pieces[row] = in_notation(piece)

    def encode(text: str) -> list[int]:
        try:
            return tokenizer.encode(text, add_special_tokens=False).ids
        # As above; such as a piece for the unknown that the vocabulary lacks.
        except Exception as error:
            raise UnreadableError(f"a tokenizer.json that fails: {error}") from error

    return tuple(pieces), encode


def _parse(content: bytes) -> Mapping[str, Any]:
    try:
        check_few_values(content, "the JSON", _MOST_VALUES, _LARGEST)
        spec = json.loads(content)
    except RecyclingError as error:
        raise UnreadableError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"JSON that is damaged: {error}") from error
    model = spec.get("model") if isinstance(spec, dict) else None
    if not isinstance(model, dict) or "vocab" not in model:
        raise UnreadableError("other JSON, without a model and its vocabulary")
    return spec


def _size(tokenizer: Any) -> int:
    """One more than the last row; rows between may be free."""
    last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if last >= _MOST_ROWS:
        raise UnreadableError(
            f"a tokenizer.json with a piece at row {last}, where no model has one"
        )
    return 1 + int(last)


def _unknown(spec: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """The row of the piece for what is in no other piece; in a list that may be empty.

    Unigram models give its row, the others its text.
    """
    model = spec["model"]
    row = model.get("unk_id") if model.get("type") == "Unigram" else None
    if row is None and isinstance(model.get("unk_token"), str):
        row = tokenizer.token_to_id(model["unk_token"])
    return [row] if type(row) is int else []


def _notation(spec: Mapping[str, Any]) -> Callable[[str], str | None]:
    """Returns the function that writes a tokenizer's pieces as SentencePiece would."""
    parts = list(_parts([spec.get(name) for name in _STAGES]))
    kinds = {part["type"] for part in parts}
    if "ByteLevel" in kinds:
        return _of_bytes
    marked = any(
        part["type"] in ("Metaspace", "Prepend", "Replace")
        and BEGINS_WORD
        in (part.get(key) for key in ("replacement", "prepend", "content"))
        for part in parts
    )
    if marked:
        return lambda piece: piece
    model = spec["model"]
    prefix = model.get("continuing_subword_prefix")
    if isinstance(prefix, str | None) and (model.get("type") == "WordPiece" or prefix):
        return functools.partial(_of_word_piece, prefix=prefix or "##")
    raise UnreadableError(
        f"a tokenizer ({model.get('type')}) whose pieces do not tell where words "
        "begin; those of byte-level BPE, Unigram and WordPiece do"
    )


_STAGES = ("normalizer", "pre_tokenizer", "decoder")


def _parts(spec: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the parts of the stages, which may be sequences of others."""
    if isinstance(spec, dict):
        if isinstance(spec.get("type"), str):
            yield spec
        spec = list(spec.values())
    if isinstance(spec, list):
        for inner in spec:
            yield from _parts(inner)


def _of_word_piece(piece: str, prefix: str) -> str:
    continues = piece.startswith(prefix)
    return piece.removeprefix(prefix) if continues else BEGINS_WORD + piece


def _of_bytes(piece: str) -> str | None:
    """A piece whose characters stand for bytes; None if it is half a character."""
    try:
        text = bytes(_bytes()[character] for character in piece).decode()
    except (KeyError, UnicodeDecodeError):
        return None
    # The text's own character must not pass for the mark.
    if text.startswith(BEGINS_WORD):
        return None
    return BEGINS_WORD + text[1:] if text.startswith(" ") else text


@functools.cache
def _bytes() -> Mapping[str, int]:
    """Byte-level BPE writes a byte as the Latin-1 character that it is, if that can be
    seen, and the others, in order, as the characters from U+0100 on.
    """
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = sorted(set(range(0x100)) - set(seen))
    return {chr(byte): byte for byte in seen} | {
        chr(0x100 + number): byte for number, byte in enumerate(hidden)
    }
