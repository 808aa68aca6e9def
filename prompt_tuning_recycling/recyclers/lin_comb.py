"""`lin-comb`: each prompt vector as a linear combination of words."""

from __future__ import annotations

import dataclasses

from prompt_tuning_recycling.maps import FactoredCombination
from prompt_tuning_recycling.recyclers import least_squares, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class LinearCombination(Recycler):
    """Writes a prompt in the source's words and reads it in the target's.

    S [words, source_dim] and T [words, target_dim] are the embeddings of the same
    words. The coefficients are C = argmin ‖SᵀC − Pᵀ‖² [words, length], the smallest
    ones if they are not unique, and a prompt P becomes P' = CᵀT.

    The smallest coefficients are Cᵀ = P S⁺, so P' = P S⁺ T: plain least squares makes
    this the same map as `v2v-lin`. Choose it to look at the coefficients, which its map
    can return. With a ridge λ, C = argmin ‖SᵀC − Pᵀ‖² + λ‖C‖², and the two are still
    the same map.

    Lester et al. 2022 (lin-comb), https://arxiv.org/abs/2208.05577.

    Attributes:
      rcond: singular values of S below this share of the largest one count as zero.
        The default is the rounding of float64.
      ridge: λ as a multiple of the mean squared norm of the rows of S; "auto" for the
        one of `ridge.GRID` with the least leave-one-out error; None for no ridge.
        Not together with `rcond`.
    """

    name = "lin-comb"
    aliases = ("linear-combination",)

    rcond: float | None = None
    ridge: float | str | None = None

    def __post_init__(self) -> None:
        least_squares.check_parameters(self.rcond, self.ridge)

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        return least_squares.fit(
            source, target, FactoredCombination, self.rcond, self.ridge
        )
