"""What maps share that look at each vector by itself: the words, unit rows, work in
pieces, and an order of words that does not depend on their places.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# A piece of this many vectors and 4000 words takes 8 MB.
_AT_ONCE = 256


def lengths(rows: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows 1"]:
    """Returns the Euclidean norm of each row, float64."""
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]


def unit(rows: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Returns the rows divided by their norms; rows of zeros stay zero."""
    norms = lengths(rows)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def median_length(rows: Float[np.ndarray, "rows dim"]) -> float:
    """Returns the median norm of the rows that are not zero; at least one is not."""
    norms = lengths(rows)
    return float(np.median(norms[norms > 0]))


def by_prompt(
    function: Callable[[np.ndarray], np.ndarray],
    vectors: Float[np.ndarray, "*prompts length source_dim"],
    target_dim: int,
) -> Float[np.ndarray, "*prompts length target_dim"]:
    """Applies a function to each prompt by itself, a few hundred vectors at a time.

    The sizes of the matrix products then depend only on the prompt's length, so that a
    prompt gets the same bits in every stack, and memory stays bounded.

    Args:
      function: takes vectors [n, source_dim] and returns [n, target_dim].
      vectors: the prompts, float64.
      target_dim: the width of the result.
    """
    mapped = np.empty((*vectors.shape[:-1], target_dim))
    for place in np.ndindex(vectors.shape[:-2]):
        prompt = np.ascontiguousarray(vectors[place])
        for start in range(0, len(prompt), _AT_ONCE):
            piece = slice(start, start + _AT_ONCE)
            mapped[place][piece] = function(prompt[piece])
    return mapped


def canonical_order(
    source: Float[np.ndarray, "words source_dim"],
    target: Float[np.ndarray, "words target_dim"],
) -> Int[np.ndarray, words]:
    """Returns an order of the words that depends on their embeddings alone.

    A map that takes the first of several equally near words in this order takes the
    same word in whatever order the words are given. The order is that of a fixed
    linear function of both embeddings, which has equal values only by chance.
    """
    key = source @ np.cos(np.arange(source.shape[1]))
    key += target @ np.sin(np.arange(target.shape[1]) + 1.0)
    return np.argsort(key, kind="stable")


class OfWords:
    """What maps do that hold the words and look at each vector by itself. It comes
    before `Map` among a map's bases.
    """

    source: Float[np.ndarray, "words source_dim"]
    target: Float[np.ndarray, "words target_dim"]

    @property
    def source_dim(self) -> int:
        return self.source.shape[1]

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        return by_prompt(self._of_vectors, vectors, self.target.shape[1])

    @abc.abstractmethod
    def _of_vectors(
        self, vectors: Float[np.ndarray, "n source_dim"]
    ) -> Float[np.ndarray, "n target_dim"]:
        """Maps vectors, one by one."""

    @functools.cached_property
    def _order(self) -> Int[np.ndarray, words]:
        """The canonical order of the words."""
        return canonical_order(self.source, self.target)

    @functools.cached_property
    def _directions(self) -> Float[np.ndarray, "words source_dim"]:
        """The directions of the words, in canonical order."""
        return unit(self.source[self._order])
