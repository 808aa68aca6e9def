"""`v2v-lin`: a linear map between vocabularies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.recyclers import base, least_squares, registry

if TYPE_CHECKING:
    from jaxtyping import Float


@registry.register
@dataclasses.dataclass(frozen=True)
class VocabToVocabLinear(base.Recycler):
    """The least-squares linear map from the source's embeddings to the target's.

    With S [words, source_dim] and T [words, target_dim] the embeddings of the same
    words, W = argmin ‖SW − T‖², and a prompt P becomes P' = PW. Solved in float64;
    where W is not unique (fewer words than source dimensions, or embeddings of lower
    rank), the smallest is taken, which the report says.

    Without bias. The same map as `lin-comb`, P' = P S⁺ T. It carries over only what
    the words span. For a map that bends, use `v2v-nn`.

    Lester et al. 2022 (v2v-lin), https://arxiv.org/abs/2208.05577.

    Attributes:
      rcond: singular values of S below this share of the largest count as zero; by
        default float64's rounding.
    """

    name = "v2v-lin"
    aliases = ("tf-lstsq",)

    rcond: float | None = None

    def __post_init__(self) -> None:
        least_squares.check_rcond(self.rcond)

    def _fit(
        self,
        source: Float[np.ndarray, "words source_dim"],
        target: Float[np.ndarray, "words target_dim"],
    ) -> tuple[base.Arrays, dict[str, Any]]:
        inverse = least_squares.pseudo_inverse(source, self.rcond)
        return {"map": inverse @ target}, inverse.diagnostics()

    def _apply(
        self, arrays: base.Arrays, prompt: Float[np.ndarray, "length source_dim"]
    ) -> Float[np.ndarray, "length target_dim"]:
        return prompt @ arrays["map"]

    def _apply_all(
        self,
        arrays: base.Arrays,
        prompts: Float[np.ndarray, "prompts length source_dim"],
    ) -> Float[np.ndarray, "prompts length target_dim"]:
        # numpy multiplies each matrix of a stack by itself.
        return np.matmul(prompts, arrays["map"])

    def _source_dim(self, arrays: base.Arrays) -> int:
        return arrays["map"].shape[0]
