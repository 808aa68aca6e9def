"""Rank classification: an example's answer is the choice whose text is most likely
under the model.

A task makes one example for each choice and scores them all; the metrics reassemble
them:

    seqio.TaskRegistry.add(
        "my_task",
        source=...,  # inputs, choices [n], correct [n]
        preprocessors=[
            rank_classification.one_per_choice,
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos,
        ],
        postprocess_fn=rank_classification.keep_ranking,
        metric_fns=rank_classification.METRICS,
        output_features=...,
    )

If choices are equally likely, the first one is the answer. An answer is right if it is
any of the right choices.
"""

from __future__ import annotations

import functools
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.tasks import metrics, postprocessors

if TYPE_CHECKING:
    import tensorflow as tf

# A host may return other outputs of its model besides the scores.
Scores = Sequence[float] | tuple[Sequence[float], Mapping[str, Any]]


class Choice(NamedTuple):
    """The example and the choice of a scored text, and whether the choice is right.

    Attributes:
      example: a number that the example's choices share. Only an identical example can
        have the same number.
      choice: the choice's number, from 0.
      correct: whether the choice is right.
      choices: how many choices the example has.
      tokens: how many tokens the choice's text has, including EOS.
      ids: these tokens, which show choices that are the same to the model; empty if
        they are not known.
    """

    example: int
    choice: int
    correct: bool
    choices: int
    tokens: int
    ids: tuple[int, ...] = ()


def one_per_choice(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Makes one example for each choice.

    Args:
      dataset: examples with `inputs` (text), `choices` (texts, [n]) and `correct`
        (bool, [n]); n may differ between examples, and is at least 1.

    Returns:
      Examples with `inputs`, `targets` (the choice), and what `keep_ranking` needs.
    """
    import tensorflow as tf

    def split(number: tf.Tensor, example: Mapping[str, tf.Tensor]) -> tf.data.Dataset:
        inputs, choices = example["inputs"], example["choices"]
        correct = tf.cast(example["correct"], tf.int64)
        count = tf.size(choices, out_type=tf.int64)
        tf.debugging.assert_positive(count, "rank classification: no choices")
        # The number alone is not unique, since each host counts its shard from 0; nor
        # are the texts, which a dataset may repeat.
        text = tf.strings.reduce_join(
            tf.concat(
                [
                    tf.strings.as_string(number)[None],
                    inputs[None],
                    choices,
                    tf.strings.as_string(correct),
                ],
                axis=0,
            ),
            separator="\n",
        )
        key = tf.strings.to_hash_bucket_fast(text, 2**63 - 1)
        return tf.data.Dataset.from_tensor_slices(
            {
                "inputs": tf.repeat(inputs, count),
                "targets": choices,
                "ranking": tf.stack(
                    [
                        tf.repeat(key, count),
                        tf.range(count),
                        correct,
                        tf.repeat(count, count),
                    ],
                    axis=1,
                ),
            }
        )

    return dataset.enumerate().flat_map(split)


def keep_ranking(
    target_or_prediction: Any,
    *,
    example: Mapping[str, Any] | None = None,
    is_target: bool = False,
) -> Any:
    """A postprocessor for seqio that turns a target into its `Choice`."""
    if not is_target or example is None:
        return target_or_prediction
    key, choice, correct, choices = (int(part) for part in example["ranking"])
    ids = tuple(int(token) for token in example["targets"])
    return Choice(key, choice, bool(correct), choices, len(ids), ids)


def accuracy(
    targets: Sequence[Choice],
    scores: Scores,
    *,
    by_length: bool = False,
    prefix: str = "",
) -> dict[str, float]:
    """Returns the percentage of examples whose most likely choice is right.

    If choices are equally likely, the first one counts. An example with a score that is
    not a number counts as wrong. So does an example in which a right choice is the same
    to the model as a wrong one, or in which all choices are the same.

    Args:
      targets: the choice that each score belongs to.
      scores: log-likelihoods, in nats.
      by_length: whether to divide each score by the number of its choice's tokens.
      prefix: the prefix of the metric's name.

    Raises:
      RecyclingError: choices are missing, or no example's choices can be told apart.
    """
    answers = [
        best is not None and choices[best].correct
        for choices, best in _answered(targets, scores, by_length)
    ]
    return {f"{prefix}accuracy": 100.0 * sum(answers) / len(answers)}


def f1(
    targets: Sequence[Choice],
    scores: Scores,
    *,
    by_length: bool = False,
    prefix: str = "",
) -> dict[str, float]:
    """Returns the F1 score of the second choice against the first, in percent.

    Examples without a right choice, which have no label, are left out. For arguments
    and ties see `accuracy`.

    Raises:
      RecyclingError: choices are missing, no example's choices can be told apart, or an
        example does not have exactly two choices or has two right ones.
    """
    labels, predictions = [], []
    for choices, best in _answered(targets, scores, by_length):
        right = [choice.choice for choice in choices if choice.correct]
        if len(choices) != 2 or len(right) > 1:
            raise RecyclingError(
                "F1 of rank classification: expected two choices per example, one of "
                f"them right, found {len(choices)} with {len(right)} right. Use "
                "accuracy."
            )
        labels.append(right[0] if right else postprocessors.UNKNOWN)
        predictions.append(postprocessors.UNKNOWN if best is None else best)
    return {f"{prefix}f1": metrics.f1(labels, predictions)["f1"]}


# A task reports all of these from one inference pass.
METRICS = (accuracy, functools.partial(accuracy, by_length=True, prefix="normed_"))
F1_METRICS = (f1, functools.partial(f1, by_length=True, prefix="normed_"))


def _answered(
    targets: Sequence[Choice], scores: Scores, by_length: bool
) -> list[tuple[list[Choice], int | None]]:
    """Returns each example's choices, in order, and the number of the most likely one;
    None if a score is not a number, or if the choices cannot be told apart.
    """
    values = _values(scores)
    if len(values) != len(targets):
        raise RecyclingError(
            f"rank classification: expected a score for each of {len(targets)} choices,"
            f" found {len(values)}."
        )
    if by_length:
        values = values / np.array([target.tokens for target in targets])
    answered: list[tuple[list[Choice], int | None]] = []
    alike = invalid = 0
    for rows in _examples(targets):
        likelihoods = values[rows]
        choices = [targets[row] for row in rows]
        best = None
        if _alike(choices):
            alike += 1
        elif np.isnan(likelihoods).any():
            invalid += 1
        else:
            best = int(likelihoods.argmax())
        answered.append((choices, best))
    if alike == len(answered):
        raise RecyclingError(
            "rank classification: in every example a right choice has the same tokens "
            "as another, so no score can tell them apart. Expected texts that differ "
            "in the model's vocabulary, even when they are cut to "
            "TASK_FEATURE_LENGTHS."
        )
    for count, why in (
        (invalid, "have a score that is not a number"),
        (alike, "have a right choice with the same tokens as another"),
    ):
        if count:
            logging.getLogger(__name__).warning(
                "rank classification: %d of %d examples %s, and count as wrong.",
                count,
                len(answered),
                why,
            )
    return answered


def _alike(choices: Sequence[Choice]) -> bool:
    """Whether a right choice has a wrong one's tokens, or all tokens are the same."""
    if len(choices) < 2 or not all(choice.ids for choice in choices):
        return False
    right = {choice.ids for choice in choices if choice.correct}
    wrong = {choice.ids for choice in choices if not choice.correct}
    return bool(right & wrong) or len(right | wrong) == 1


def _values(scores: Scores) -> np.ndarray:
    paired = len(scores) == 2 and isinstance(scores[1], Mapping)
    return np.asarray(scores[0] if paired else scores, np.float64)


def _examples(targets: Sequence[Choice]) -> list[list[int]]:
    """Returns the rows of each example's choices, in the order of the choices."""
    rows: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, target in enumerate(targets):
        rows[target.example][target.choice].append(row)
    if not rows:
        raise RecyclingError(
            "rank classification: there are no examples. Expected at least one in the "
            "evaluated split."
        )
    examples: list[list[int]] = []
    last = targets[-1].example
    for key, choices in rows.items():
        count = targets[next(iter(choices.values()))[0]].choices
        repeated = {len(found) for found in choices.values()}
        if set(choices) == set(range(count)) and len(repeated) == 1:
            # Identical examples from several hosts have the same key.
            ordered = [choices[number] for number in range(count)]
            examples.extend(list(found) for found in zip(*ordered, strict=True))
        elif key != last or sorted(choices) != list(range(len(choices))):
            raise RecyclingError(
                f"rank classification: found only the scores of {sorted(choices)} for "
                f"an example with {count} choices. Expected all scores. Are examples "
                "shuffled and cut off (EVALUATOR_NUM_EXAMPLES)?"
            )
    if not examples:
        raise RecyclingError(
            f"rank classification: found {len(targets)} scores, but the first example "
            f"alone has {targets[0].choices} choices. Raise EVALUATOR_NUM_EXAMPLES."
        )
    return examples
