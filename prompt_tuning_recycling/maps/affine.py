"""A linear map and a shift."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Affine(Map):
    """P' = PW + b, where b is added to every vector.

    Attributes:
      matrix: W, float64 [source_dim, target_dim].
      bias: b, float64 [target_dim].
    """

    kind = "affine"

    matrix: Float[np.ndarray, "source_dim target_dim"]
    bias: Float[np.ndarray, " target_dim"]

    @property
    def source_dim(self) -> int:
        return len(self.matrix)

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        return vectors @ self.matrix + self.bias
