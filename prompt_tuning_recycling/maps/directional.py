"""A linear map of directions, with the lengths scaled by themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map
from prompt_tuning_recycling.maps.rows import by_prompt, lengths, unit

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Directional(Map):
    """p' = c ‖p‖ · pM / ‖pM‖ for each vector p, and 0 where pM is 0.

    Attributes:
      matrix: M, float64 [source_dim, target_dim].
      scale: c, how many times longer a vector becomes.
    """

    kind = "directional"

    matrix: Float[np.ndarray, "source_dim target_dim"]
    scale: float

    @property
    def source_dim(self) -> int:
        return len(self.matrix)

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        return by_prompt(self._of_vectors, vectors, self.matrix.shape[1])

    def _of_vectors(
        self, vectors: Float[np.ndarray, "n source_dim"]
    ) -> Float[np.ndarray, "n target_dim"]:
        return unit(vectors @ self.matrix) * (lengths(vectors) * float(self.scale))
