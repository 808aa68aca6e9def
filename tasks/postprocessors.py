"""Turns decoded texts into the values that a metric compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

UNKNOWN = -1


class Answers(NamedTuple):
    """The right answers of an example.

    Attributes:
      example: a number that identifies the example; its repetitions share it.
      texts: the answers.
    """

    example: tuple[int, ...]
    texts: tuple[str, ...]


def class_number(text: str, verbalizers: Sequence[str], **unused: Any) -> int:
    """Returns which verbalizer the text is, or -1 if it is none of them."""
    return verbalizers.index(text) if text in verbalizers else UNKNOWN


def all_answers(
    target_or_prediction: str,
    example: Mapping[str, Any] | None = None,
    is_target: bool = False,
    *,
    number: Sequence[str],
) -> Any:
    """Turns a target into its example's `Answers`; leaves a prediction unchanged.

    Args:
      target_or_prediction: the decoded text.
      example: the example, with `answers` (bytes, [n]).
      is_target: whether it is a target.
      number: the features that together identify the example.
    """
    if not is_target or example is None:
        return target_or_prediction
    return Answers(
        tuple(int(example[feature]) for feature in number),
        tuple(answer.decode() for answer in example["answers"]),
    )
