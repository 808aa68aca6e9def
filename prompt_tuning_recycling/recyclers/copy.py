"""`copy`: the prompt as it is."""

from __future__ import annotations

import dataclasses

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps import Identity
from prompt_tuning_recycling.recyclers import registry
from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.words import WordEmbeddings


@registry.register
@dataclasses.dataclass(frozen=True)
class Copy(Recycler):
    """Gives the target the source's prompt as it is, P' = P.

    It is for a target that is the source trained further, whose embeddings have hardly
    moved. Nothing is learned; the residual ‖S − T‖ / ‖T‖ says how far the embeddings
    of the words have moved. Between models that were trained apart, whose dimensions
    have nothing to do with each other, it is no better than a random prompt.

    Raises:
      RecyclingError: `fit` raises it if the two models differ in width.
    """

    name = "copy"

    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        widths = source.array.shape[1], target.array.shape[1]
        if widths[0] != widths[1]:
            raise RecyclingError(
                "the recycler copy needs two models of the same width, found "
                f"{widths[0]} in the source and {widths[1]} in the target. Use one "
                "that maps between widths, such as procrustes, relative or v2v-lin."
            )
        return Fit(Identity(widths[0]))
