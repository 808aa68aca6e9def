"""The map that changes nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Identity(Map):
    """P' = P.

    Attributes:
      width: the width of both models' embeddings.
    """

    kind = "identity"

    width: int

    @property
    def source_dim(self) -> int:
        return int(self.width)

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        return vectors
