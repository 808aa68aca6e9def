"""`lin-comb`: each prompt vector as a linear combination of words."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.recyclers import base, least_squares, registry

if TYPE_CHECKING:
    from jaxtyping import Float


@registry.register
@dataclasses.dataclass(frozen=True)
class LinearCombination(base.Recycler):
    """The prompt written in the source's words, read in the target's.

    With S [words, source_dim] and T [words, target_dim] the embeddings of the same
    words, the coefficients are C = argmin ‖SᵀC − Pᵀ‖² [words, length], the smallest
    where they are not unique, and a prompt P becomes P' = CᵀT.

    The smallest coefficients are Cᵀ = P S⁺, so P' = P S⁺ T: plain least squares makes
    this the same map as `v2v-lin`. Choose it to look at the coefficients.

    Lester et al. 2022 (lin-comb), https://arxiv.org/abs/2208.05577.

    Attributes:
      rcond: singular values of S below this share of the largest count as zero; by
        default float64's rounding.
    """

    name = "lin-comb"
    aliases = ("linear-combination",)

    rcond: float | None = None

    def __post_init__(self) -> None:
        least_squares.check_rcond(self.rcond)

    def _fit(
        self,
        source: Float[np.ndarray, "words source_dim"],
        target: Float[np.ndarray, "words target_dim"],
    ) -> tuple[base.Arrays, dict[str, Any]]:
        inverse = least_squares.pseudo_inverse(source, self.rcond)
        arrays = {"source_pseudo_inverse": inverse.dense(), "target": target}
        return arrays, inverse.diagnostics()

    def coefficients(
        self,
        fitted: base.FittedRecycler,
        prompt: Float[np.ndarray, "length source_dim"],
    ) -> Float[np.ndarray, "words length"]:
        """Returns C: how much of each word is in each prompt vector."""
        wide = np.asarray(prompt, np.float64)
        return (wide @ fitted.arrays["source_pseudo_inverse"]).T

    def _apply(
        self, arrays: base.Arrays, prompt: Float[np.ndarray, "length source_dim"]
    ) -> Float[np.ndarray, "length target_dim"]:
        # multi_dot takes the cheaper order: by way of the coefficients for a prompt,
        # by way of the whole map for thousands of words.
        return np.linalg.multi_dot(
            [prompt, arrays["source_pseudo_inverse"], arrays["target"]]
        )

    def _apply_all(
        self,
        arrays: base.Arrays,
        prompts: Float[np.ndarray, "prompts length source_dim"],
    ) -> Float[np.ndarray, "prompts length target_dim"]:
        # By way of the whole map, which pays off from a few prompts on.
        whole = arrays["source_pseudo_inverse"] @ arrays["target"]
        return np.matmul(prompts, whole)

    def _source_dim(self, arrays: base.Arrays) -> int:
        return arrays["source_pseudo_inverse"].shape[0]
