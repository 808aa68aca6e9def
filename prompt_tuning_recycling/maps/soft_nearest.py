"""A map to an average of the target's words, weighted by their nearness."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map
from prompt_tuning_recycling.maps.rows import OfWords, lengths, unit

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class SoftNearest(OfWords, Map):
    """p' = Σ_i w_i t_i with w = softmax_i(cos(p − s̄, s_i − s̄) / τ).

    A vector equal to s̄, the mean of the s_i, is equally near to all words.

    Attributes:
      source: the s_i, float64 [words, source_dim].
      target: the t_i, float64 [words, target_dim].
      temperature: τ.
      scale: c; if given, p' is scaled to the length c ‖p‖.
    """

    kind = "soft-nearest"
    costly = True

    source: Float[np.ndarray, "words source_dim"]
    target: Float[np.ndarray, "words target_dim"]
    temperature: float
    scale: float | None = None

    @functools.cached_property
    def _mean(self) -> Float[np.ndarray, " source_dim"]:
        return self.source.mean(axis=0)

    @functools.cached_property
    def _directions(self) -> Float[np.ndarray, "words source_dim"]:
        return unit(self.source - self._mean)

    def _of_vectors(
        self, vectors: Float[np.ndarray, "n source_dim"]
    ) -> Float[np.ndarray, "n target_dim"]:
        sharpened = unit(vectors - self._mean) / float(self.temperature)
        weights = sharpened @ self._directions.T
        # The largest becomes exp(0), so that none overflows.
        weights -= weights.max(axis=1, keepdims=True)
        np.exp(weights, out=weights)
        mapped = weights @ self.target / weights.sum(axis=1, keepdims=True)
        if self.scale is None:
            return mapped
        return unit(mapped) * (lengths(vectors) * float(self.scale))
