"""Rank classification: an example's answer is the choice whose text the model finds
likeliest.

A task makes one example of each choice and scores them all; the metric puts them
together again:

    seqio.TaskRegistry.add(
        "my_task",
        source=...,  # inputs, choices [n], correct [n]
        preprocessors=[
            rank_classification.one_per_choice,
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos,
        ],
        postprocess_fn=rank_classification.keep_ranking,
        metric_fns=[rank_classification.accuracy],
        output_features=...,
    )
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import tensorflow as tf


class Choice(NamedTuple):
    """Which choice of which example a scored text is, and whether it is right."""

    example: int
    choice: int
    correct: bool


def one_per_choice(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Makes an example of every choice.

    Args:
      dataset: examples with `inputs` (text), `choices` (texts, [n]) and `correct`
        (bool, [n]); n may differ from example to example.

    Returns:
      Examples with `inputs`, `targets` (the choice), and what `keep_ranking` needs.
    """
    import tensorflow as tf

    def split(number: tf.Tensor, example: Mapping[str, tf.Tensor]) -> tf.data.Dataset:
        count = tf.size(example["choices"], out_type=tf.int64)
        return tf.data.Dataset.from_tensor_slices(
            {
                "inputs": tf.repeat(example["inputs"], count),
                "targets": example["choices"],
                "ranking": tf.stack(
                    [
                        tf.repeat(number, count),
                        tf.range(count),
                        tf.cast(example["correct"], tf.int64),
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
    """Postprocesses for seqio: a target becomes its `Choice`."""
    if not is_target or example is None:
        return target_or_prediction
    number, choice, correct = (int(part) for part in example["ranking"])
    return Choice(number, choice, bool(correct))


def accuracy(targets: Sequence[Choice], scores: Sequence[float]) -> dict[str, float]:
    """Returns the percentage of examples whose likeliest choice is a right one.

    Of equally likely choices the first one counts.

    Args:
      targets: what each score is the score of.
      scores: log-likelihoods, in nats.
    """
    ranked: dict[int, list[tuple[float, int, bool]]] = defaultdict(list)
    for target, score in zip(targets, scores, strict=True):
        ranked[target.example].append((-score, target.choice, target.correct))
    right = sum(min(choices)[2] for choices in ranked.values())
    return {"accuracy": 100.0 * right / len(ranked)}
