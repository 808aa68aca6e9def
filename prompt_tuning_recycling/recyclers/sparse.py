"""`sparse`: each prompt vector in a few words."""

from __future__ import annotations

import dataclasses

from prompt_tuning_recycling import maps
from prompt_tuning_recycling.recyclers import checks, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class Sparse(Recycler):
    """Writes each prompt vector in a few of the source's words and reads it in the
    target's.

    s_i and t_i are the two models' embeddings of word i. Orthogonal matching pursuit
    finds up to k words with p ≈ Σ_j c_j s_j: the word whose direction correlates most
    with what is unexplained, then all c_j by least squares, and again. A prompt vector
    p becomes p' = Σ_j c_j t_j. The record names the words and the c_j of every vector.

    What k words do not explain of a vector is dropped, so p' is usually shorter than p
    in the target's units. A fitted word is written in itself: its residual is 0 and
    tells nothing.

    Pati, Rezaiifar and Krishnaprasad 1993, "Orthogonal matching pursuit",
    https://doi.org/10.1109/ACSSC.1993.342465. The same coefficients for two models'
    words: Goddard and Fernandes Neto 2025, https://arxiv.org/abs/2506.06607, who
    transplant a tokenizer's embeddings.

    Attributes:
      k: the most words that a vector is written in.
    """

    name = "sparse"

    k: int = 4

    def __post_init__(self) -> None:
        checks.check_whole("k", self.k)

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        return Fit(maps.Sparse(source.array, target.array, self.k))
