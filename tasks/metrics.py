"""Metrics of generated text, in percent."""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Callable, Sequence

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.tasks.postprocessors import UNKNOWN, Answers


def accuracy(targets: Sequence[int], predictions: Sequence[int]) -> dict[str, float]:
    """Returns the percentage of right classes; an example without a label is wrong.

    Args:
      targets: class numbers.
      predictions: class numbers; -1 for a text that names no class.
    """
    right = [
        target != UNKNOWN and target == prediction
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    return {"accuracy": 100.0 * _mean(right)}


def f1(targets: Sequence[int], predictions: Sequence[int]) -> dict[str, float]:
    """Returns the F1 score of class 1 against class 0.

    A prediction that is neither counts as the wrong class, as in T5. Examples without a
    label are left out. The score is 0 if there are no true or predicted positives.

    Args:
      targets: class numbers, 0 or 1; -1 for no label.
      predictions: class numbers.
    """
    counts = collections.Counter(
        (target, prediction if prediction in (0, 1) else 1 - target)
        for target, prediction in zip(targets, predictions, strict=True)
    )
    wrong = counts[1, 0] + counts[0, 1]
    positives = 2 * counts[1, 1] + wrong
    return {"f1": 100.0 * 2 * counts[1, 1] / positives if positives else 0.0}


def squad(targets: Sequence[Answers], predictions: Sequence[str]) -> dict[str, float]:
    """Returns SQuAD's exact match and F1, each the best over an example's answers.

    Texts are compared without case, punctuation and articles, and F1 counts common
    words (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1, and the
    evaluation script of SQuAD 1.1). If an example is repeated for each of its answers,
    the first repetition counts. An example without answers is wrong.

    Args:
      targets: the right answers.
      predictions: texts.
    """
    pairs = _once(targets, predictions)
    return {
        "em": 100.0 * _mean([_best(_same, *pair) for pair in pairs]),
        "f1": 100.0 * _mean([_best(_words_f1, *pair) for pair in pairs]),
    }


def exact_match(
    targets: Sequence[Answers], predictions: Sequence[str]
) -> dict[str, float]:
    """Returns the percentage of predictions that equal one of the right answers.

    If an example is repeated for each of its answers, the first repetition counts.
    """
    pairs = _once(targets, predictions)
    return {"accuracy": 100.0 * _mean([text in answers for answers, text in pairs])}


def _once(
    targets: Sequence[Answers], predictions: Sequence[str]
) -> list[tuple[tuple[str, ...], str]]:
    first: dict[tuple[int, ...], tuple[tuple[str, ...], str]] = {}
    for target, prediction in zip(targets, predictions, strict=True):
        first.setdefault(target.example, (target.texts, prediction))
    return list(first.values())


def _best(
    score: Callable[[list[str], list[str]], float],
    answers: Sequence[str],
    prediction: str,
) -> float:
    words = _words(prediction)
    return max((score(_words(answer), words) for answer in answers), default=0.0)


def _words(text: str) -> list[str]:
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def _same(answer: list[str], prediction: list[str]) -> float:
    return float(answer == prediction)


def _words_f1(answer: list[str], prediction: list[str]) -> float:
    common = collections.Counter(answer) & collections.Counter(prediction)
    return 2 * common.total() / max(len(answer) + len(prediction), 1)


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise RecyclingError(
            "there are no examples to compute a metric on. Expected at least one in "
            "the evaluated split."
        )
    return sum(values) / len(values)
