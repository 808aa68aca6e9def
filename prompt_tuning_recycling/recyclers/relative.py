"""`relative`: the target's vector that is as similar to each word."""

from __future__ import annotations

import dataclasses

import numpy as np

from prompt_tuning_recycling.maps import Directional
from prompt_tuning_recycling.maps.rows import median_length, unit
from prompt_tuning_recycling.recyclers import checks, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class Relative(Recycler):
    """Finds the direction whose cosines to the target's words are the prompt's cosines
    to the source's.

    Ŝ [words, source_dim] and T̂ [words, target_dim] are the embeddings of the same
    words, each divided by its length. A prompt vector p has the cosines
    r = Ŝ p / ‖p‖ [words]. The target's direction is q = argmin ‖T̂q − r‖² + λ‖q‖², which
    is pM up to its length, with M = ŜᵀT̂(T̂ᵀT̂ + λ)⁻¹. The result is
    p' = ‖p‖ · m_t / m_s · q / ‖q‖, where m_s and m_t are the median lengths of the two
    models' embeddings. λ is a share of the mean σ² of T̂'s singular values.

    A zero vector stays zero; words of zeros count for nothing. Because the ridge
    shrinks directions in which the words hardly vary, even a model recycled to itself
    gets slightly turned vectors. Every vector's length changes by the same factor.

    The cosines to common words as a representation: Moschella et al. 2023,
    https://arxiv.org/abs/2209.15430. For prompts: Wu et al. 2024 (PTfer),
    https://arxiv.org/abs/2310.01691, who search by gradient descent for the vectors
    whose cosines to the words are most like r, and give them the mean and the variance
    of the target's embeddings; here the vectors have a closed form.

    Attributes:
      ridge: λ as a share of the mean σ²; a larger one relies less on directions in
        which the words hardly vary.
    """

    name = "relative"

    ridge: float = 0.1

    def __post_init__(self) -> None:
        checks.check_positive("ridge", self.ridge)

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        s, t = unit(source.array), unit(target.array)
        gram = t.T @ t
        singular_values = min(t.shape)
        gram.flat[:: len(gram) + 1] += self.ridge * np.trace(gram) / singular_values
        matrix = np.linalg.solve(gram, t.T @ s).T
        scale = median_length(target.array) / median_length(source.array)
        return Fit(Directional(np.ascontiguousarray(matrix), scale), {"scale": scale})
