"""The mean of several maps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps.base import Map

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Mean(Map):
    """P' = (f_1(P) + ... + f_n(P)) / n.

    Attributes:
      maps: f_1 to f_n, which take prompts of one width and return those of one width.

    Raises:
      RecyclingError: there is no map, or the maps take different widths.
    """

    kind = "mean"

    maps: tuple[Map, ...]

    def __post_init__(self) -> None:
        widths = sorted({map_.source_dim for map_ in self.maps})
        if len(widths) != 1:
            raise RecyclingError(
                "expected the mean of at least one map, all for prompts of the same "
                f"width, found {len(self.maps)} maps for the widths {widths}."
            )

    @property
    def source_dim(self) -> int:
        return self.maps[0].source_dim

    @property
    def costly(self) -> bool:  # type: ignore[override]
        return any(map_.costly for map_ in self.maps)

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        total = sum(map_._apply(vectors) for map_ in self.maps)
        return np.asarray(total) / len(self.maps)
