"""What a host does for a choice: keep a model in memory, and score prompts on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int

    Prompts = Mapping[str, Float[np.ndarray, "length width"]]


class ScoredModel(Protocol):
    """A model that is loaded and compiled once, and scored with one prompt after
    another.

    Attributes:
      shapes: name -> shape [length, width] of each of the model's prompts.
    """

    shapes: contract.Shapes

    def score(self, prompts: Prompts, unlabeled: Unlabeled) -> list[float]:
        """Returns the log-likelihoods of all choices, input by input, in nats: the sum
        over a choice's tokens, EOS included.

        Args:
          prompts: name -> prompt, float32 [length, width].
          unlabeled: the inputs and their choices.
        """

    def answer(
        self, prompts: Prompts, unlabeled: Unlabeled, length: int
    ) -> Sequence[Int[np.ndarray, " tokens"]]:
        """Returns what the model answers to each input: token ids up to and with EOS.

        Args:
          prompts: name -> prompt, float32 [length, width].
          unlabeled: the inputs; their choices are not used.
          length: how many tokens an answer has at most.
        """

    def gradient(
        self,
        prompts: Prompts,
        unlabeled: Unlabeled,
        weights: Float[np.ndarray, " scores"],
    ) -> Prompts:
        """Returns the gradient of Σ weights · scores: name of a prompt -> float32
        [length, width].

        Args:
          prompts: name -> prompt, float32 [length, width].
          unlabeled: the inputs and their choices.
          weights: one for each score that `score` returns, in its order.
        """
