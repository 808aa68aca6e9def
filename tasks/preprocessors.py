"""Turns a dataset's fields into texts: `inputs` and `targets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import seqio

if TYPE_CHECKING:
    import tensorflow as tf


@seqio.map_over_dataset
def named_fields(
    example: Mapping[str, tf.Tensor], fields: Sequence[str]
) -> dict[str, tf.Tensor]:
    """Makes `inputs` from a GLUE example, in the form that T5 was trained on, but
    without the task's name: `question1: ... question2: ...`.

    Args:
      example: has the fields as texts.
      fields: the fields' names, in order.
    """
    import tensorflow as tf

    parts = [part for field in fields for part in (f"{field}:", example[field])]
    return {**example, "inputs": tf.strings.join(parts, separator=" ")}


@seqio.map_over_dataset
def label_as_text(
    example: Mapping[str, tf.Tensor],
    verbalizers: Sequence[str],
    unlabeled: str = "<unk>",
) -> dict[str, tf.Tensor]:
    """Makes `targets` from a class number.

    Args:
      example: has `label`, an integer; TFDS writes -1 for no label.
      verbalizers: the text of each class.
      unlabeled: the text for no label.
    """
    import tensorflow as tf

    texts = tf.constant([unlabeled, *verbalizers])
    return {**example, "targets": texts[example["label"] + 1]}


@seqio.map_over_dataset
def choices_from_verbalizers(
    example: Mapping[str, tf.Tensor], verbalizers: Sequence[str]
) -> dict[str, tf.Tensor]:
    """Makes every class a choice for `rank_classification.one_per_choice`.

    If an example has no label, none of its choices is correct.
    """
    import tensorflow as tf

    choices = tf.constant(list(verbalizers))
    return {**example, "choices": choices, "correct": choices == example["targets"]}


def one_per_answer(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Makes one example for each right answer, with the answer in `targets`.

    Args:
      dataset: examples with `answers` (texts, [n]); n may differ, and if it is 0, the
        target is `<unk>`, T5's text for no label.

    Returns:
      Examples with all their features, including `answers`, and `targets`.
    """
    import tensorflow as tf

    def split(example: Mapping[str, tf.Tensor]) -> tf.data.Dataset:
        answers = example["answers"]
        targets = tf.cond(
            tf.size(answers) > 0, lambda: answers, lambda: tf.constant(["<unk>"])
        )
        return tf.data.Dataset.from_tensor_slices(targets).map(
            lambda target: {**example, "targets": target}
        )

    return dataset.flat_map(split)
