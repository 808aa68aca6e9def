"""`local`: another affine map for each prompt vector."""

from __future__ import annotations

import dataclasses

from prompt_tuning_recycling import maps
from prompt_tuning_recycling.recyclers import checks, registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class Local(Recycler):
    """Fits an affine map to the words around each prompt vector.

    A [neighbors, source_dim] and B [neighbors, target_dim] are the two models'
    embeddings of the words that have the highest cosine with the prompt vector p, less
    their means s̄ and t̄. With W = argmin ‖AW − B‖² + λ‖W‖², p becomes
    p' = t̄ + (p − s̄)W. λ is a share of the mean σ² of A's singular values.

    Only what varies among the neighbors is carried over; the rest of p − s̄ is dropped.
    A zero vector, which is near no word, stays zero. The map is not continuous: the
    neighbors change from one vector to the next. Of all recyclers it takes longest for
    each vector, 1000 times more for 1000 vectors.

    Locally weighted regression, Cleveland and Devlin 1988,
    https://doi.org/10.1080/01621459.1988.10478639, with equal weights within the
    neighborhood and with a ridge (Hoerl and Kennard 1970).

    Attributes:
      neighbors: how many words to fit each map to; all if there are fewer.
      ridge: λ as a share of the mean σ²; a larger one relies less on directions in
        which the words hardly vary.
    """

    name = "local"

    neighbors: int = 128
    ridge: float = 0.1

    def __post_init__(self) -> None:
        checks.check_whole("neighbors", self.neighbors)
        checks.check_positive("ridge", self.ridge)

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        return Fit(maps.Local(source.array, target.array, self.neighbors, self.ridge))
