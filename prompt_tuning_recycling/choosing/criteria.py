"""How well a prompt's answers on unlabeled inputs speak for it.

A model's scores on an input x are the log-likelihoods of its choices l. Without any
label, two criteria judge them:

- with a teacher, which is the source model with its own prompt: the agreement,
  mean over x of Σ_l q(l|x) p(l|x), where q are the teacher's probabilities;
- without one: the information, m · I, where m is the mean over x of the likelihood of
  all choices together, and I the mutual information between x and the answer,
  H(mean p) − mean H(p).

Confidence alone, the mean of max_l p(l|x), is no criterion, because a prompt that gives
the same answer to every input may be sure of it. Such a prompt agrees with the teacher
only where that happens to be the teacher's answer, and its information is 0.

For a task without choices, the teacher's own answers are the targets, and what counts
is their likelihood per token.

An input with a score that is not finite, as a prompt that overflows gives, counts as
not answered: it adds nothing to a criterion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr, softmax

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
    """Returns p(l|x): each input's likelihoods, divided by their sum. The choices of an
    input that is not answered are equally probable.

    Args:
      scores: log-likelihoods of each input's choices, in nats.
    """
    return [
        softmax(of_input if _answered(of_input) else np.zeros(len(of_input)))
        for of_input in scores
    ]


def agreement(scores: Scores, teacher: Scores) -> float:
    """Returns the mean over inputs of Σ_l q(l|x) p(l|x), in [0, 1].

    Args:
      scores: log-likelihoods of each input's choices.
      teacher: q(l|x), the teacher's probabilities of the same choices.
    """
    found = [
        float(p @ q) if _answered(of_input) else 0.0
        for of_input, p, q in zip(scores, probabilities(scores), teacher, strict=True)
    ]
    return float(np.mean(found))


def information(scores: Scores) -> float:
    """Returns the mean likelihood of all choices together, in [0, 1], times the mutual
    information between input and answer, in nats: from 0 to the logarithm of the number
    of choices.

    Args:
      scores: log-likelihoods of each input's choices, which are the same texts for all
        inputs; otherwise the mean answer has no meaning.
    """
    table = np.stack(probabilities(scores))
    mass = np.mean(
        [np.exp(of_input).sum() if _answered(of_input) else 0.0 for of_input in scores]
    )
    shared = entr(table.mean(axis=0)).sum() - entr(table).sum(axis=1).mean()
    return float(mass * shared)


def likelihood(scores: Scores, tokens: Sequence[int]) -> float:
    """Returns the mean likelihood per token of the teacher's own answers, in [0, 1]:
    the mean over inputs of exp(log-likelihood / tokens).

    Args:
      scores: the log-likelihood of each input's answer.
      tokens: how many tokens each answer has.
    """
    values = np.concatenate(scores)
    answered = np.isfinite(values)
    per_token = np.where(answered, values, 0.0) / np.asarray(tokens)
    return float(np.where(answered, np.exp(per_token), 0.0).mean())


def _answered(of_input: Float[np.ndarray, " choices"]) -> bool:
    return bool(np.isfinite(of_input).all())
