"""Maps that least squares finds, which form their matrices only when they need them.

A prompt of a hundred vectors is carried over by the factors of S⁺ in a fraction of the
time that the whole map takes. Stacks of prompts and files need the whole map.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from prompt_tuning_recycling.maps.combination import Combination
from prompt_tuning_recycling.maps.linear import Linear

if TYPE_CHECKING:
    from jaxtyping import Float


class Inverse(Protocol):
    """The pseudo-inverse S⁺ [source_dim, words] of a matrix S, kept in factors; with a
    ridge λ, (SᵀS + λI)⁻¹Sᵀ.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of S: [words, source_dim]."""

    def coefficients(
        self, vectors: Float[np.ndarray, "vectors source_dim"], *, refine: bool = True
    ) -> Float[np.ndarray, "vectors words"]:
        """Returns P S⁺; to six digits or more without refinement."""

    def solve(
        self,
        target: Float[np.ndarray, "words target_dim"],
        rough: Float[np.ndarray, "source_dim target_dim"] | None = None,
    ) -> Float[np.ndarray, "source_dim target_dim"]:
        """Returns S⁺T, to start from a rough solution if there is one."""

    def dense(self) -> Float[np.ndarray, "source_dim words"]:
        """Returns S⁺ as one matrix."""


class _Factored:
    """What both maps do with the factors. It comes before `Linear` or `Combination`,
    whose `_apply` carries over what is too much for the factors.
    """

    inverse: Inverse
    target: Float[np.ndarray, "words target_dim"]
    rough: Float[np.ndarray, "source_dim target_dim"] | None

    def __init__(
        self,
        inverse: Inverse,
        target: Float[np.ndarray, "words target_dim"],
        rough: Float[np.ndarray, "source_dim target_dim"] | None = None,
    ) -> None:
        # Maps are frozen.
        for name, value in (("inverse", inverse), ("target", target), ("rough", rough)):
            object.__setattr__(self, name, value)

    @property
    def source_dim(self) -> int:
        return self.inverse.shape[1]

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        # This depends on shapes alone, so that a prompt always gets the same bits.
        if vectors.ndim == 2 and len(vectors) <= min(self.inverse.shape) // 4:
            return self.inverse.coefficients(vectors) @ self.target
        whole: Any = super()
        return whole._apply(vectors)

    def approximate(
        self, vectors: Float[np.ndarray, "vectors source_dim"]
    ) -> Float[np.ndarray, "vectors target_dim"]:
        wide = vectors.astype(np.float64)
        if self.rough is not None:
            return wide @ self.rough
        return self.inverse.coefficients(wide, refine=False) @ self.target


class FactoredLinear(_Factored, Linear):
    """P' = (P S⁺) T, a `Linear` map whose matrix W = S⁺T is formed when it is needed.

    Attributes:
      inverse: S⁺ in factors.
      target: T, float64 [words, target_dim].
      rough: W to six digits, if it is known.
    """

    @functools.cached_property
    def matrix(self) -> Float[np.ndarray, "source_dim target_dim"]:
        """W, float64 [source_dim, target_dim]."""
        return self.inverse.solve(self.target, self.rough)


class FactoredCombination(_Factored, Combination):
    """P' = (P S⁺) T, a `Combination` whose S⁺ is formed when it is needed.

    Attributes:
      inverse: S⁺ in factors.
      target: T, float64 [words, target_dim].
      rough: S⁺T to six digits, if it is known.
    """

    @functools.cached_property
    def source_pseudo_inverse(self) -> Float[np.ndarray, "source_dim words"]:
        """S⁺, float64 [source_dim, words]."""
        return self.inverse.dense()

    def coefficients(
        self, prompts: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length words"]:
        wide = np.asarray(prompts, np.float64)
        found = self.inverse.coefficients(wide.reshape(-1, wide.shape[-1]))
        return found.reshape(*wide.shape[:-1], -1)
