"""Two models' embeddings of the same words, which are read once for all uses."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.models.floats import check_floating
from prompt_tuning_recycling.words.alignment import in_models
from prompt_tuning_recycling.words.words import (
    MIN_WORDS,
    Words,
    of_another_vocabulary,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

logger = logging.getLogger(__name__)

_Arguments = TypeVarTuple("_Arguments")
_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True, eq=False)
class WordEmbeddings:
    """One model's embeddings of words, checked: what a recycler learns from.

    Attributes:
      array: float64 [words, dim], finite, and not the same for all words.
      stored_as: the dtype that the embeddings are stored in, which determines how
        coarsely they are rounded.
    """

    array: Float[np.ndarray, "words dim"]
    stored_as: np.dtype

    @classmethod
    def checked(
        cls, rows: Shaped[np.ndarray, "words dim"], whose: str
    ) -> WordEmbeddings:
        """Checks stored embeddings and converts them to float64.

        Args:
          rows: float16, bfloat16, float32 or float64.
          whose: "source" or "target", for messages.

        Raises:
          RecyclingError: not a matrix, fewer than two words, another dtype, numbers
            that are not finite, or embeddings that are all the same.
        """
        rows = np.asarray(rows)
        if rows.ndim != 2 or 0 in rows.shape:
            raise RecyclingError(
                f"expected the {whose}'s embeddings as a matrix [words, width], found "
                f"shape {list(rows.shape)}."
            )
        if len(rows) < MIN_WORDS:
            raise RecyclingError(
                f"a recycler is fitted on at least {MIN_WORDS} words, found "
                f"{len(rows)}."
            )
        check_floating(rows.dtype, f"the {whose}'s embeddings")
        wide = rows.astype(np.float64)
        finite = np.isfinite(wide).all(axis=1)
        if not finite.all():
            raise RecyclingError(
                f"the {whose}'s embeddings have numbers that are not finite, first for "
                f"word {int(np.argmin(finite))} of the words to fit on. Is the "
                "checkpoint damaged?"
            )
        if (wide == wide[0]).all():
            raise RecyclingError(
                f"the {whose}'s embeddings are the same for all {len(wide)} words, so "
                "there is nothing to learn. Is this the embedding table of a trained "
                "model?"
            )
        return cls(wide, rows.dtype)

    @functools.cached_property
    def svd(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The singular value decomposition U diag(s) Vᵀ of `array`, computed once for
        all recyclers: U [words, k], s [k] in descending order, Vᵀ [k, dim].
        """
        return np.linalg.svd(self.array, full_matrices=False)

    @functools.cached_property
    def gram(self) -> Float[np.ndarray, "dim dim"]:
        """The Gram matrix SᵀS of `array`, float64, computed once for all recyclers."""
        return self.array.T @ self.array

    def once(
        self,
        compute: Callable[[WordEmbeddings, Unpack[_Arguments]], _Value],
        *arguments: *_Arguments,
    ) -> _Value:
        """Returns `compute(self, *arguments)`, computed once for all recyclers that are
        fitted on the same `WordEmbeddings`.

        Args:
          compute: a function of these embeddings, which is not a closure.
          *arguments: its other arguments, hashable.
        """
        key = (compute, arguments)
        if key not in self._computed:
            self._computed[key] = compute(self, *arguments)
        return self._computed[key]

    @functools.cached_property
    def _computed(self) -> dict[Hashable, Any]:
        return {}

    def __len__(self) -> int:
        return len(self.array)


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddedWords:
    """Two models' embeddings of the same words. `read_embeddings` makes them.

    Attributes:
      source, target: the models.
      words: the words, without held-out words that cannot be used.
      source_rows: [words, source_dim], as stored: first the words to fit on, then the
        held-out words.
      target_rows: [words, target_dim], in the same order.
      fingerprints: those of the source and the target when they were read; see
        `StoredArray.unchanged`.
    """

    source: Model
    target: Model
    words: Words
    source_rows: Shaped[np.ndarray, "words source_dim"]
    target_rows: Shaped[np.ndarray, "words target_dim"]
    fingerprints: tuple[str, str]

    @functools.cached_property
    def fitted(self) -> tuple[WordEmbeddings, WordEmbeddings]:
        """The source's and the target's embeddings of the words to fit on.

        Raises:
          RecyclingError: as `WordEmbeddings.checked`.
        """
        count = len(self.words.fitted)
        return (
            WordEmbeddings.checked(self.source_rows[:count], "source"),
            WordEmbeddings.checked(self.target_rows[:count], "target"),
        )

    @property
    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """The source's and the target's embeddings of the held-out words, as stored."""
        count = len(self.words.fitted)
        return self.source_rows[count:], self.target_rows[count:]

    @functools.cached_property
    def mismatch(self) -> str | None:
        """A warning if the words are from another vocabulary than the models'; or
        None.
        """
        found = (
            of_another_vocabulary(
                self.words.table_sizes, model.embeddings.shape[0], str(model.path)
            )
            for model in (self.source, self.target)
        )
        return next(filter(None, found), None)


def read_embeddings(
    source: Model, target: Model, word_sets: Sequence[Words]
) -> list[EmbeddedWords]:
    """Reads the embeddings of each set of words, which are found in both models (see
    `in_models`). Each model is read once.

    Raises:
      RecyclingError: a model has no embedding table, the words are not in both models,
        a word is outside a table, or a model was written again meanwhile.
    """
    word_sets = [
        _within(in_models(words, source, target), source, target) for words in word_sets
    ]
    every = [words.fitted + words.held_out for words in word_sets]
    of_source, source_was = _read(
        source, "source", [words.source_rows for words in every]
    )
    of_target, target_was = _read(
        target, "target", [words.target_rows for words in every]
    )
    read_from = (source_was, target_was)
    embedded = [
        _without_unusable(EmbeddedWords(source, target, *of_set, read_from))
        for of_set in zip(word_sets, of_source, of_target, strict=True)
    ]
    for warning in dict.fromkeys(one.mismatch for one in embedded):
        if warning:
            logger.warning("warning: %s", warning)
    return embedded


def _within(words: Words, source: Model, target: Model) -> Words:
    """Drops held-out words outside the vocabularies, which no user chose."""
    held_out = words.held_out
    inside = (held_out.source_rows < source.embeddings.shape[0]) & (
        held_out.target_rows < target.embeddings.shape[0]
    )
    return dataclasses.replace(words, held_out=held_out.where(inside))


def _read(
    model: Model, role: str, row_sets: Sequence[Int[np.ndarray, rows]]
) -> tuple[list[Shaped[np.ndarray, "rows dim"]], str]:
    """Reads all rows at once, so that no chunk is read twice; returns them and the
    checkpoint's fingerprint.
    """
    one_set = len(row_sets) == 1
    every = row_sets[0] if one_set else np.unique(np.concatenate(row_sets))
    logger.info("reading %d embeddings of the %s, %s", len(every), role, model.path)
    with model.embeddings.unchanged() as fingerprint:
        read = model.embeddings.take(every)
    if one_set:
        return [read], fingerprint
    return [read[np.searchsorted(every, rows)] for rows in row_sets], fingerprint


def _without_unusable(embedded: EmbeddedWords) -> EmbeddedWords:
    """Drops held-out words whose embeddings are not finite. Among the words to fit on,
    such embeddings are an error.
    """
    usable = np.ones(len(embedded.source_rows), bool)
    for rows in (embedded.source_rows, embedded.target_rows):
        # NumPy has no isfinite for bfloat16.
        usable &= np.isfinite(rows.astype(np.float32)).all(axis=1)
    count = len(embedded.words.fitted)
    usable[:count] = True
    if usable.all():
        return embedded
    held_out = embedded.words.held_out.where(usable[count:])
    return dataclasses.replace(
        embedded,
        words=dataclasses.replace(embedded.words, held_out=held_out),
        source_rows=embedded.source_rows[usable],
        target_rows=embedded.target_rows[usable],
    )
