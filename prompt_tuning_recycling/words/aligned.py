"""The same words in two models."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


@dataclasses.dataclass(frozen=True, eq=False)
class AlignedWords:
    """Words that two models share, with their rows in each model's embedding table.

    Attributes:
      source_rows: int64 [words], rows of the source's table; a word that occurs twice
        counts twice.
      target_rows: int64 [words], rows of the target's table. For two models with one
        vocabulary, both arrays are equal.
      pieces: [words], each word's piece; None for a word whose piece is not known.

    Raises:
      RecyclingError: a negative row.
    """

    source_rows: Int[np.ndarray, words]
    target_rows: Int[np.ndarray, words]
    pieces: Sequence[str | None]

    def __post_init__(self) -> None:
        for rows in (self.source_rows, self.target_rows):
            if rows.size and rows.min() < 0:
                raise RecyclingError(
                    f"a vocabulary index cannot be negative, but {rows.min()} is "
                    "among the words."
                )

    @classmethod
    def of_one_vocabulary(
        cls,
        rows: Sequence[int] | Int[np.ndarray, words],
        pieces: Mapping[int, str] | None = None,
    ) -> AlignedWords:
        """Returns words of a vocabulary that both models share.

        Args:
          rows: vocabulary indices.
          pieces: index -> piece, for the indices whose piece is known.

        Raises:
          RecyclingError: `rows` is not a list of whole numbers, or one is negative.
        """
        array = np.asarray(rows)
        whole = not array.size or np.issubdtype(array.dtype, np.integer)
        if array.ndim != 1 or not whole:
            raise RecyclingError(
                f"rows must be a list of whole numbers, got dtype {array.dtype} with "
                f"shape {array.shape}."
            )
        array = array.astype(np.int64)
        named = [(pieces or {}).get(index) for index in array.tolist()]
        return cls(array, array, named)

    @property
    def rows(self) -> Int[np.ndarray, "*sides words"]:
        """The rows of both tables: [words] where they are equal, else [2, words]."""
        if np.array_equal(self.source_rows, self.target_rows):
            return self.source_rows
        return np.stack([self.source_rows, self.target_rows])

    def __len__(self) -> int:
        return len(self.source_rows)

    def where(self, chosen: Bool[np.ndarray, words]) -> AlignedWords:
        """Returns the words for which `chosen` is true."""
        pieces = list(itertools.compress(self.pieces, chosen))
        return AlignedWords(self.source_rows[chosen], self.target_rows[chosen], pieces)

    def __add__(self, other: AlignedWords) -> AlignedWords:
        return AlignedWords(
            np.concatenate([self.source_rows, other.source_rows]),
            np.concatenate([self.target_rows, other.target_rows]),
            [*self.pieces, *other.pieces],
        )
