"""`soft-nearest`: an average of the target's words, weighted by nearness."""

from __future__ import annotations

import dataclasses

from prompt_tuning_recycling import maps
from prompt_tuning_recycling.maps.rows import median_length
from prompt_tuning_recycling.recyclers import checks, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class SoftNearest(Recycler):
    """Averages the target's embeddings of the words that are near the prompt in the
    source.

    s_i and t_i are the two models' embeddings of word i, and s̄ is the mean of the s_i.
    A prompt vector p becomes p' = Σ_i w_i t_i with
    w = softmax_i(cos(p − s̄, s_i − s̄) / τ).

    The result lies among the target's words, however long the prompt was: nothing is
    extrapolated, and directions away from all words are lost. With `rescale`, p' gets
    the length ‖p‖ · m_t / m_s instead, where m_s and m_t are the median lengths of the
    two models' embeddings. With a small τ it takes the nearest word, with a large one
    the mean of all. Many words make it blunter, because all of them have a weight.

    Minixhofer et al. 2022 (WECHSEL), https://arxiv.org/abs/2112.06598, carry embeddings
    between vocabularies as such a mean of the 10 nearest words, with the same τ. Here
    it is a mean of all words, and the cosines are centered.

    Attributes:
      temperature: τ; with a smaller one, fewer words count.
      rescale: give each vector the length that it had in the source, in the target's
        units.
    """

    name = "soft-nearest"

    temperature: float = 0.1
    rescale: bool = False

    def __post_init__(self) -> None:
        checks.check_positive("temperature", self.temperature)
        checks.check_boolean("rescale", self.rescale)

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        s, t = source.array, target.array
        scale = median_length(t) / median_length(s) if self.rescale else None
        return Fit(maps.SoftNearest(s, t, self.temperature, scale))
