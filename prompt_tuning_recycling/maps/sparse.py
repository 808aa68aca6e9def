"""A map that writes each vector in a few words of the source's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map
from prompt_tuning_recycling.maps.rows import OfWords, lengths

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Words whose correlations differ by less than this share are equally good, and a
# correlation below this share of the vector's length is rounding.
_ROUNDING = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class Sparse(OfWords, Map):
    """p' = Σ_j c_j t_j, where p ≈ Σ_j c_j s_j has at most k words.

    Orthogonal matching pursuit chooses the words: one after the other, the word whose
    direction has the largest correlation |⟨r, s_i/‖s_i‖⟩| with what is still
    unexplained, r = p − Σ_j c_j s_j. After each, least squares fits all c_j again. It
    stops early where no word explains more. Of equally good words it takes one that
    does not depend on the order of the words. A zero vector stays zero.

    Attributes:
      source: the s_i, float64 [words, source_dim].
      target: the t_i, float64 [words, target_dim].
      k: the most words that a vector is written in.
    """

    kind = "sparse"
    costly = True

    source: Float[np.ndarray, "words source_dim"]
    target: Float[np.ndarray, "words target_dim"]
    k: int

    def combination(
        self, prompt: Float[np.ndarray, "length source_dim"]
    ) -> list[list[tuple[int, float]]]:
        wide = np.asarray(prompt, np.float64)
        words, coefficients = self._pursue(wide)
        return [
            [(i, c) for i, c in zip(*of_vector, strict=True) if c]
            for of_vector in zip(words.tolist(), coefficients.tolist(), strict=True)
        ]

    def _of_vectors(
        self, vectors: Float[np.ndarray, "n source_dim"]
    ) -> Float[np.ndarray, "n target_dim"]:
        words, coefficients = self._pursue(vectors)
        return (coefficients[:, None] @ self.target[words])[:, 0]

    def _pursue(
        self, vectors: Float[np.ndarray, "n source_dim"]
    ) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
        """Returns the chosen words and their coefficients; 0 after an early end."""
        count = min(int(self.k), len(self.source))
        words = np.zeros((len(vectors), count), np.int64)
        atoms = np.zeros((len(vectors), count, self.source_dim))
        weights = np.zeros((len(vectors), count))
        rounding = _ROUNDING * lengths(vectors)[:, 0]
        unexplained = vectors.copy()
        going_on = np.arange(len(vectors))
        for step in range(count):
            much = lengths(unexplained[going_on])[:, 0] > rounding[going_on]
            going_on = going_on[much]
            if not going_on.size:
                break
            correlations = np.abs(unexplained[going_on] @ self._directions.T)
            largest = correlations.max(axis=1, keepdims=True)
            # The first in canonical order of those that are equally good.
            best = (correlations >= (1 - _ROUNDING) * largest).argmax(axis=1)
            useful = largest[:, 0] > rounding[going_on]
            going_on, best = going_on[useful], best[useful]
            words[going_on, step] = self._order[best]
            atoms[going_on, step] = self._directions[best]
            chosen, of = atoms[going_on, : step + 1], vectors[going_on]
            weights[going_on, : step + 1] = _least_squares(chosen, of)
            explained = (weights[going_on, None, : step + 1] @ chosen)[:, 0]
            unexplained[going_on] = of - explained
        # The coefficients of the words themselves, whose directions span the same.
        norms = lengths(self.source[words.ravel()]).reshape(words.shape)
        coefficients = np.divide(
            weights, norms, out=np.zeros_like(weights), where=norms > 0
        )
        return words, coefficients


def _least_squares(
    atoms: Float[np.ndarray, "n k dim"], vectors: Float[np.ndarray, "n dim"]
) -> Float[np.ndarray, "n k"]:
    """Returns the weights that bring Σ_j w_j a_j closest to each vector."""
    gram = atoms @ atoms.transpose(0, 2, 1)
    inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    return (inverse @ (atoms @ vectors[:, :, None]))[:, :, 0]
