"""Trains small tokenizers of the kinds that models have."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

SPECIAL = ["<unk>", "<s>"]


def train_tokenizer(
    path: pathlib.Path, kind: str, texts: Sequence[str], size: int = 2000
) -> pathlib.Path:
    """Writes a `tokenizer.json` of one of the `KINDS` with `size` pieces at most."""
    tokenizer, trainer = KINDS[kind](size)
    tokenizer.train_from_iterator(texts, trainer)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


_Made = tuple[Tokenizer, trainers.Trainer]


def _byte_level_bpe(size: int) -> _Made:
    """As that of GPT-2 and of Llama 3."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )


def _marked_bpe(size: int) -> _Made:
    """As that of Llama 2: it writes spaces as SentencePiece does."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    return tokenizer, trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, show_progress=False
    )


def _unigram(size: int) -> _Made:
    """As that of T5 and of mT5."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        unk_token="<unk>",
        show_progress=False,
    )


def _word_piece(size: int) -> _Made:
    """As that of BERT."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=["[PAD]", "[UNK]", "[CLS]"],
        show_progress=False,
    )


KINDS: Mapping[str, Callable[[int], _Made]] = {
    "byte-level BPE": _byte_level_bpe,
    "marked BPE": _marked_bpe,
    "Unigram": _unigram,
    "WordPiece": _word_piece,
}
