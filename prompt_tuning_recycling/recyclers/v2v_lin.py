"""`v2v-lin`: a linear map between vocabularies."""

from __future__ import annotations

import dataclasses

from prompt_tuning_recycling.maps import Linear
from prompt_tuning_recycling.recyclers import least_squares, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class VocabToVocabLinear(Recycler):
    """The least-squares linear map from the source's embeddings to the target's.

    With S [words, source_dim] and T [words, target_dim] the embeddings of the same
    words, W = argmin ‖SW − T‖², and a prompt P becomes P' = PW. Solved in float64;
    where W is not unique (fewer words than source dimensions, or embeddings of lower
    rank), the smallest is taken, which the record says.

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

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        inverse = least_squares.pseudo_inverse(source, self.rcond)
        return inverse.fit(Linear(inverse @ target.array), target.stored_as)
