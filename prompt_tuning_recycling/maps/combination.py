"""A map that writes prompts in the source's words and reads them in the target's."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Combination(Map):
    """P' = (P S⁺) T, a linear map that keeps its two factors. P S⁺ says how much of
    each word is in each vector.

    Attributes:
      source_pseudo_inverse: S⁺, float64 [source_dim, words].
      target: T, float64 [words, target_dim].
    """

    kind = "combination"

    source_pseudo_inverse: Float[np.ndarray, "source_dim words"]
    target: Float[np.ndarray, "words target_dim"]

    @property
    def source_dim(self) -> int:
        return len(self.source_pseudo_inverse)

    def coefficients(
        self, prompts: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length words"]:
        """Returns how much of each word is in each prompt vector."""
        return np.asarray(prompts, np.float64) @ self.source_pseudo_inverse

    @functools.cached_property
    def _matrix(self) -> Float[np.ndarray, "source_dim target_dim"]:
        return self.source_pseudo_inverse @ self.target

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        if vectors.ndim > 2:
            return vectors @ self._matrix
        # NumPy picks the cheaper order: the coefficients first for a prompt, the whole
        # map first for thousands of words.
        return np.linalg.multi_dot([vectors, self.source_pseudo_inverse, self.target])
