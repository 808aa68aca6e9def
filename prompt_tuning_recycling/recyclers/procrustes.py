"""`procrustes`: a rotation and one scale."""

from __future__ import annotations

import dataclasses

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps import Linear
from prompt_tuning_recycling.recyclers import registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class Procrustes(Recycler):
    """The rotation that brings the source's embeddings closest to the target's, scaled.

    S [words, source_dim] and T [words, target_dim] are the embeddings of the same
    words, and SᵀT = UΣVᵀ. The rotation is R = UVᵀ = argmin ‖SR − T‖ over orthogonal R
    (reflections included). A prompt P becomes P' = PW with W = R · ‖T‖ / ‖SU‖, all
    Frobenius norms, so that the words keep the target's mean square length: ‖SW‖ = ‖T‖.
    (The least-squares scale tr Σ / ‖SU‖² is smaller, and the smaller the less the
    models agree.)

    For unequal widths, U and V have min(source_dim, target_dim) columns: a narrower
    source is embedded in the target isometrically, and a wider one is projected first,
    to the directions that the two have in common. Directions whose σ is rounding are
    dropped, as for fewer words than dimensions, and the record says so.

    All angles between prompt vectors are kept, so it cannot blow up what the words do
    not determine. It cannot express that the models weigh directions differently.

    Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem",
    https://doi.org/10.1007/BF02289451; between word embeddings: Smith et al. 2017,
    https://arxiv.org/abs/1702.03859. Both are without the scale.
    """

    name = "procrustes"

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        s, t = source.array, target.array
        u, sigma, vt = np.linalg.svd(s.T @ t, full_matrices=False)
        # The rounding of SᵀT grows with the embeddings, whether or not they agree.
        size = np.linalg.norm(s) * np.linalg.norm(t)
        sides = max(*s.shape, *t.shape)
        rank = int(np.sum(sigma > np.finfo(np.float64).eps * sides * size))
        if rank == 0:
            raise RecyclingError(
                "the two models' embeddings of these words have no direction in "
                "common (SᵀT is zero), so that no rotation brings them closer. Use "
                "other words."
            )
        u, vt = u[:, :rank], vt[:rank]
        scale = np.linalg.norm(t) / np.linalg.norm(s @ u)
        return Fit(
            Linear((u * scale) @ vt),
            {"rank": rank, "scale": float(scale)},
            tuple(_warnings(len(s), rank, len(sigma))),
        )


def _warnings(words: int, rank: int, possible: int) -> list[str]:
    if rank == possible:
        return []
    return [
        f"the {words} words determine a rotation in {rank} of {possible} dimensions; "
        "the part of a prompt in other directions is dropped. More words may "
        "determine the rest."
    ]
