"""From a dataset's fields to texts: `inputs` and `targets`."""

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
    """Makes `inputs` of a GLUE example, as T5 was trained to read it, but without the
    task's name: `question1: ... question2: ...`.

    Args:
      example: with the fields, texts.
      fields: in their order.
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
    """Makes `targets` of a class number.

    Args:
      example: with `label`, an integer; -1 is TFDS's for no label.
      verbalizers: the text of each class.
      unlabeled: the text of no label.
    """
    import tensorflow as tf

    texts = tf.constant([unlabeled, *verbalizers])
    return {**example, "targets": texts[example["label"] + 1]}


@seqio.map_over_dataset
def choices_from_verbalizers(
    example: Mapping[str, tf.Tensor], verbalizers: Sequence[str]
) -> dict[str, tf.Tensor]:
    """Makes every class a choice for `rank_classification.one_per_choice`.

    Of an example without a label no choice is correct.
    """
    import tensorflow as tf

    choices = tf.constant(list(verbalizers))
    return {**example, "choices": choices, "correct": choices == example["targets"]}


def one_per_answer(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Makes an example of every right answer, in `targets`.

    Args:
      dataset: examples with `answers` (texts, [n]); n may differ, and where it is 0
        the target is `<unk>`, T5's text for no label.

    Returns:
      Examples with all their features, `answers` among them, and `targets`.
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
