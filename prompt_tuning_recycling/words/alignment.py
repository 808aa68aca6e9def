"""Finds the same words in two models, by their text where the vocabularies differ."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.models.vocabularies import BEGINS_WORD, Vocabulary
from prompt_tuning_recycling.words.aligned import AlignedWords
from prompt_tuning_recycling.words.words import Words, too_few

logger = logging.getLogger(__name__)

# Between two vocabularies, a map needs at least so many words, and this share of those
# asked for: with a smaller one, the list is hardly of these models' language.
FEWEST_WORDS = 2000
SMALLEST_SHARE = 0.5
# T5 pads its table to a multiple of this. One release has 32,128 rows for 32,000 pieces
# and 100 extra ids, another has 32,100; their vocabularies are the same.
_PADDING = 128
# Some models have a few thousand rows that nothing uses: a table has at most so many
# times the rows that its vocabulary needs with the usual padding.
_MOST_UNUSED = 1.1
# A list is of a vocabulary if it has this share of the list's pieces at their indices.
_SAME_PIECES = 0.9


def in_models(words: Words, source: Model, target: Model) -> Words:
    """Returns the words with their rows in both models, or the words that there are for
    wide models.

    Two models of one vocabulary have the words in the same rows. In different
    vocabularies, a word is found by its text, in its own case; it counts if it is one
    piece in each, at the beginning of a word.

    Raises:
      RecyclingError: the models have different vocabularies, but not both are known; or
        they have too few of the words in common.
    """
    mine, its = source.vocabulary, target.vocabulary
    width = source.embeddings.shape[1]
    if mine is None or its is None:
        if not _of_one_size(source, target):
            raise _unknown(source, target)
        return words.enough_for(width)
    sides = _Side("source", source, mine), _Side("target", target, its)
    if not mine.is_same(its) or _is_foreign(words, mine):
        return _by_text(words, *sides)
    for side in sides:
        if not side.fits and not _of_one_size(source, target):
            raise RecyclingError(side.misfit())
    found = words.enough_for(width)
    return dataclasses.replace(found, origin={**found.origin, **_origins(*sides)})


@dataclasses.dataclass(frozen=True)
class _Side:
    """A model in its role, source or target, and its vocabulary."""

    role: str
    model: Model
    vocabulary: Vocabulary

    @property
    def has_all_pieces(self) -> bool:
        """Whether the model's table has a row for each piece."""
        return self.model.embeddings.shape[0] >= self.vocabulary.fewest_rows

    @property
    def fits(self) -> bool:
        """Whether the table has those rows, and no more than padding explains."""
        most = _MOST_UNUSED * self.vocabulary.table_sizes[1]
        return self.has_all_pieces and self.model.embeddings.shape[0] <= most

    def misfit(self) -> str:
        """Says that the vocabulary seems to be another model's."""
        return (
            f"the {self.role} model {self.model.path} has "
            f"{self.model.embeddings.shape[0]} embeddings, but the vocabulary "
            f"{self.vocabulary.path} has {self.vocabulary.fewest_rows} pieces: is it "
            f"another model's? Give the {self.role}'s own "
            f"({_how_to_give(self.role)})."
        )


def _by_text(words: Words, source: _Side, target: _Side) -> Words:
    warnings = []
    for side in (source, target):
        if not side.has_all_pieces:
            raise RecyclingError(side.misfit())
        if not side.fits:
            warnings.append(side.misfit())
    fitted = _common(_texts(words, words.fitted.pieces), source, target)
    few = _few(words, len(fitted), source, target)
    wide = words.for_wide_models
    if wide is not None and too_few(len(fitted), source.model.embeddings.shape[1]):
        # Most of those that come on top are rare: enough of the first are enough.
        words = dataclasses.replace(wide, allow_few=words.allow_few)
        fitted = _common(_texts(words, words.fitted.pieces), source, target)
        few = few and _few(words, len(fitted), source, target)
    if few and not words.allow_few:
        raise RecyclingError(
            f"{few}; expected at least {FEWEST_WORDS}, and half of those asked for. "
            "Give a list of words that both models know (--filtered_word, WORD_LIST in "
            "gin), take another number of them (--num_words, NUM_WORDS), or allow few "
            "(--allow_few_words, ALLOW_FEW_WORDS = True)."
        )
    if few:
        warnings.append(f"{few}. A map that is fitted on few words may be far off.")
    held_out = _common(_texts(words, words.held_out.pieces), source, target)
    unseen = ~np.isin(held_out.source_rows, fitted.source_rows)
    asked = len(words.fitted)
    logger.info("%d of %d words are in both vocabularies", len(fitted), asked)
    for warning in warnings:
        logger.warning("warning: %s", warning)
    return dataclasses.replace(
        words,
        fitted=fitted,
        held_out=held_out.where(unseen),
        origin={
            **words.origin,
            **_origins(source, target),
            "asked": asked,
            "found": len(fitted),
        },
        table_sizes=None,
        for_wide_models=None,
        warnings=tuple(warnings),
    )


def _few(words: Words, found: int, source: _Side, target: _Side) -> str | None:
    """Says that too few of the words were found, if so."""
    asked = len(words.fitted)
    if found >= FEWEST_WORDS and found >= SMALLEST_SHARE * asked:
        return None
    return (
        f"only {found} of the {asked} words asked for are one piece, at the beginning "
        f"of a word, both in {source.vocabulary.path} and in {target.vocabulary.path}"
    )


def _texts(words: Words, pieces: Iterable[str | None]) -> list[str]:
    """Returns the words' texts, each once.

    Lists leave out the mark of a word's beginning. Where some pieces have it, those
    without it continue words, and are none.
    """
    every = [*words.fitted.pieces, *words.held_out.pieces]
    marked = any(piece and piece.startswith(BEGINS_WORD) for piece in every)
    if not any(every):
        raise RecyclingError(
            "the models have different vocabularies, and the words are only rows of "
            "one. Give a word list, whose words are found in both by their text."
        )
    texts = (
        piece.removeprefix(BEGINS_WORD)
        for piece in pieces
        if piece and (piece.startswith(BEGINS_WORD) or not marked)
    )
    return list(dict.fromkeys(texts))


def _common(texts: Sequence[str], source: _Side, target: _Side) -> AlignedWords:
    """Returns the words that both models have, with the target's pieces."""
    found = [
        (mine, its)
        for text in texts
        if (mine := source.vocabulary.row_of(text)) is not None
        and (its := target.vocabulary.row_of(text)) is not None
    ]
    rows = np.array(found, np.int64).reshape(-1, 2)
    pieces = [target.vocabulary.pieces[its] for _, its in found]
    return AlignedWords(rows[:, 0], rows[:, 1], pieces)


def _is_foreign(words: Words, vocabulary: Vocabulary) -> bool:
    """Whether words of a vocabulary that is known are not of this one."""
    if words.table_sizes is None:
        return False
    pieces = dict(
        zip(words.fitted.source_rows.tolist(), words.fitted.pieces, strict=True)
    )
    same = sum(
        row < len(vocabulary.pieces)
        and (vocabulary.pieces[row] or "").removeprefix(BEGINS_WORD)
        == (piece or "").removeprefix(BEGINS_WORD)
        for row, piece in pieces.items()
    )
    return same < _SAME_PIECES * len(pieces)


def _origins(*sides: _Side) -> dict[str, Any]:
    return {f"{side.role}_vocabulary": side.vocabulary.origin for side in sides}


def _of_one_size(source: Model, target: Model) -> bool:
    """Whether both tables may be of one vocabulary, except for their padding."""
    sizes = (model.embeddings.shape[0] for model in (source, target))
    return len({math.ceil(size / _PADDING) for size in sizes}) == 1


def _unknown(source: Model, target: Model) -> RecyclingError:
    """The error that the vocabularies differ and not both are known."""
    differ = (
        f"the source model {source.path} has {source.embeddings.shape[0]} embeddings "
        f"and the target {target.path} has {target.embeddings.shape[0]}, so their "
        "vocabularies differ and the same index does not mean the same word."
    )
    if source.vocabulary is None and target.vocabulary is None:
        return RecyclingError(
            f"{differ} Recycling needs two models with one vocabulary, or the "
            f"vocabularies of both ({_how_to_give('source')}; "
            f"{_how_to_give('target')})."
        )
    role = "source" if source.vocabulary is None else "target"
    return RecyclingError(
        f"{differ} Words are found in both by their text, but there is no vocabulary "
        f"beside the {role}. Give its SentencePiece file or tokenizer.json "
        f"({_how_to_give(role)})."
    )


def _how_to_give(role: str) -> str:
    return f"--{role}_vocabulary, {role.upper()}_VOCABULARY in gin"
