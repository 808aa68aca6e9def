"""How well a prompt's answers on unlabeled inputs speak for it.

A model's scores on an input x are the log-likelihoods of its choices l. Without any
label, two criteria judge them:

- with a teacher, which is the source model with its own prompt: the agreement,
  mean over x of Σ_l q(l|x) p(l|x), where q are the teacher's probabilities;
- without one: the information, m · I, where m is the mean over x of the likelihood of
  all choices together, and I the mutual information between x and the answer,
  H(mean p) − mean H(p).

Confidence alone, the mean of max p, is no criterion: a prompt that gives the same
answer to every input may be sure of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr, softmax

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Float

    Scores = Sequence[Float[np.ndarray, " choices"]]


def split(scores: Sequence[float], sizes: Sequence[int]) -> Scores:
    """Returns the scores of each input's choices.

    Args:
      scores: log-likelihoods in nats, input by input.
      sizes: how many choices each input has.
    """
    return np.split(np.asarray(scores, np.float64), np.cumsum(sizes)[:-1])


def probabilities(scores: Scores) -> Scores:
    """Returns p(l|x), each input's likelihoods divided by their sum. Scores that are
    not numbers, such as those of a prompt that overflows, give equal probabilities.
    """
    return [softmax(_finite(of_input)) for of_input in scores]


def agreement(scores: Scores, teacher: Scores) -> float:
    """Returns the mean over inputs of Σ_l q(l|x) p(l|x), in [0, 1].

    Args:
      scores: log-likelihoods of each input's choices.
      teacher: q(l|x), the teacher's probabilities of the same choices.
    """
    pairs = zip(probabilities(scores), teacher, strict=True)
    return float(np.mean([p @ q for p, q in pairs]))


def information(scores: Scores) -> float:
    """Returns the mean likelihood of all choices together, in [0, 1], times the mutual
    information between input and answer, in nats.

    Raises:
      RecyclingError: the inputs have different numbers of choices, so that the mean of
        their answers has no meaning.
    """
    if len({len(of_input) for of_input in scores}) > 1:
        raise RecyclingError(
            "the inputs have different numbers of choices, so a choice needs a "
            "teacher. Set USE_TEACHER = True, or give TEACHER_SCORES."
        )
    table = np.stack(probabilities(scores))
    mass = np.mean([np.exp(_finite(of_input)).sum() for of_input in scores])
    shared = entr(table.mean(axis=0)).sum() - entr(table).sum(axis=1).mean()
    return float(mass * shared)


def likelihood(scores: Scores, tokens: Sequence[int]) -> float:
    """Returns the mean likelihood per token of the teacher's own answers, in [0, 1]:
    the mean over inputs of exp(log-likelihood / tokens).

    Args:
      scores: the log-likelihood of each input's answer.
      tokens: how many tokens each answer has.
    """
    values = _finite(np.concatenate([np.asarray(of_input) for of_input in scores]))
    return float(np.exp(values / np.asarray(tokens)).mean())


def _finite(scores: Float[np.ndarray, " choices"]) -> Float[np.ndarray, " choices"]:
    """Replaces what is not a number by a likelihood of nearly zero."""
    return np.nan_to_num(scores, nan=-1e4, posinf=-1e4, neginf=-1e4)
