"""`v2v-lin`: a linear map between vocabularies."""

from __future__ import annotations

import dataclasses

from prompt_tuning_recycling.maps import FactoredLinear
from prompt_tuning_recycling.recyclers import least_squares, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class VocabToVocabLinear(Recycler):
    """The least-squares linear map from the source's embeddings to the target's.

    S [words, source_dim] and T [words, target_dim] are the embeddings of the same
    words. W = argmin ‖SW − T‖² is solved in float64, and a prompt P becomes P' = PW.
    If W is not unique (fewer words than source dimensions, or embeddings of lower
    rank), the smallest W is taken, and the record says so.

    The map has no bias and is the same as that of `lin-comb`, P' = P S⁺ T. It carries
    over only what the words span. For a nonlinear map, use `v2v-nn`.

    With about as many words as dimensions, the map fits noise; with a ridge λ,
    W = argmin ‖SW − T‖² + λ‖W‖² does not (docs/wide_models.md).

    Lester et al. 2022 (v2v-lin), https://arxiv.org/abs/2208.05577.

    Attributes:
      rcond: singular values of S below this share of the largest one count as zero.
        The default is the rounding of float64.
      ridge: λ as a multiple of the mean squared norm of the rows of S; "auto" for the
        one of `ridge.GRID` with the least leave-one-out error; None for no ridge.
        Not together with `rcond`.
    """

    name = "v2v-lin"
    aliases = ("tf-lstsq",)

    rcond: float | None = None
    ridge: float | str | None = None

    def __post_init__(self) -> None:
        least_squares.check_parameters(self.rcond, self.ridge)

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        return least_squares.fit(source, target, FactoredLinear, self.rcond, self.ridge)
