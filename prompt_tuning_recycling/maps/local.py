"""A map that fits another affine map for each vector, to the words around it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map
from prompt_tuning_recycling.maps.rows import OfWords, unit

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Cosines that agree to this many decimals are equal but for rounding.
_DECIMALS = 10
# How many numbers of the neighbors' embeddings are gathered at once: 32 MB.
_NUMBERS_AT_ONCE = 2**22


@dataclasses.dataclass(frozen=True, eq=False)
class Local(OfWords, Map):
    """p' = t̄ + (p − s̄)W with W = argmin ‖AW − B‖² + λ‖W‖², anew for each vector p.

    A and B are the embeddings of the k words whose s_i have the highest cosine with p,
    less their means s̄ and t̄. λ is a share of the mean σ² of A's min(k, source_dim)
    singular values. Of equally near words, those are taken that do not depend on the
    order of the words. A zero vector, which is near no word, stays zero.

    Attributes:
      source: the s_i, float64 [words, source_dim].
      target: the t_i, float64 [words, target_dim].
      neighbors: k; all words if there are fewer.
      ridge: λ / mean σ².
    """

    kind = "local"
    costly = True

    source: Float[np.ndarray, "words source_dim"]
    target: Float[np.ndarray, "words target_dim"]
    neighbors: int
    ridge: float

    def _of_vectors(
        self, vectors: Float[np.ndarray, "n source_dim"]
    ) -> Float[np.ndarray, "n target_dim"]:
        count = min(int(self.neighbors), len(self.source))
        cosines = np.round(unit(vectors) @ self._directions.T, _DECIMALS)
        by_nearness = np.argsort(-cosines, axis=1, kind="stable")
        nearest = self._order[by_nearness[:, :count]]
        width = self.source.shape[1] + self.target.shape[1]
        step = max(1, _NUMBERS_AT_ONCE // (count * width))
        mapped = np.empty((len(vectors), self.target.shape[1]))
        for start in range(0, len(vectors), step):
            piece = slice(start, start + step)
            mapped[piece] = self._around(vectors[piece], nearest[piece])
        mapped[~vectors.any(axis=1)] = 0
        return mapped

    def _around(
        self,
        vectors: Float[np.ndarray, "n source_dim"],
        nearest: Int[np.ndarray, "n k"],
    ) -> Float[np.ndarray, "n target_dim"]:
        a, b = self.source[nearest], self.target[nearest]
        source_mean, target_mean = a.mean(axis=1), b.mean(axis=1)
        a -= source_mean[:, None]
        b -= target_mean[:, None]
        offset = (vectors - source_mean)[:, :, None]
        # (p − s̄)(AᵀA + λ)⁻¹Aᵀ = (p − s̄)Aᵀ(AAᵀ + λ)⁻¹: the smaller system is solved.
        if a.shape[1] < a.shape[2]:
            weights = np.linalg.solve(self._ridged(a), a @ offset)
        else:
            weights = a @ np.linalg.solve(self._ridged(a.transpose(0, 2, 1)), offset)
        return target_mean + (weights.transpose(0, 2, 1) @ b)[:, 0]

    def _ridged(
        self, rows: Float[np.ndarray, "n rows dim"]
    ) -> Float[np.ndarray, "n rows rows"]:
        """Returns RRᵀ + λ."""
        gram = rows @ rows.transpose(0, 2, 1)
        diagonal = np.einsum("nii->ni", gram)
        penalty = float(self.ridge) * diagonal.mean(axis=1, keepdims=True)
        # Where all neighbors are equal, any penalty gives W = 0.
        diagonal += np.where(penalty > 0, penalty, 1)
        return gram
