"""C4 with targets drawn at random: a control with nothing to learn.

Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.2. The inputs are
those of its prefix language modeling; the targets are `positive` or `negative` with
equal probability. There is one task, `c4_v220_random_positive_negative_targets`, with
the splits train and validation, and without metrics.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import seqio

from prompt_tuning_recycling.tasks import features, sources

if TYPE_CHECKING:
    import tensorflow as tf

TARGETS = ("positive", "negative")
# From a longer document, one part of this many tokens is used, as in T5.
_MOST_TOKENS = 65_536


def random_prefixes(
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int],
    output_features: Mapping[str, seqio.Feature],
) -> tf.data.Dataset:
    """Cuts documents into pieces and keeps the beginning of each piece.

    A piece has as many tokens as the inputs have room for besides EOS; a document's
    last piece may have fewer. The length of its beginning is drawn uniformly from 1 to
    one less than the piece's length. The beginning of a one-token piece is empty.

    Args:
      dataset: examples with `targets`, tokens [n]; empty examples are left out.
      sequence_length: the tokens of each feature, including EOS.
      output_features: says whether EOS is added.

    Returns:
      Examples with `inputs`.
    """
    import tensorflow as tf

    length = sequence_length["inputs"] - int(output_features["inputs"].add_eos)

    @seqio.map_over_dataset(num_seeds=1)
    def part(example: Mapping[str, tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
        tokens = example["targets"]
        parts = -(-tf.size(tokens) // _MOST_TOKENS)
        start = _MOST_TOKENS * tf.random.stateless_uniform(
            [], seed, maxval=parts, dtype=tf.int32
        )
        return tokens[start : start + _MOST_TOKENS]

    def pieces(tokens: tf.Tensor) -> tf.data.Dataset:
        starts = tf.data.Dataset.range(0, tf.size(tokens, tf.int64), length)
        return starts.map(lambda start: tokens[start : start + length])

    @seqio.map_over_dataset(num_seeds=1)
    def prefix(tokens: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        most = tf.size(tokens) - 1
        count = tf.random.stateless_uniform(
            [], seed, minval=tf.minimum(1, most), maxval=most + 1, dtype=tf.int32
        )
        return {"inputs": tokens[:count]}

    dataset = dataset.filter(lambda example: tf.size(example["targets"]) > 0)
    return prefix(part(dataset).flat_map(pieces))


def random_targets(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, seqio.Feature],
    targets: Sequence[str] = TARGETS,
) -> tf.data.Dataset:
    """Gives each example a uniformly drawn target, as tokens."""
    import tensorflow as tf

    vocabulary = output_features["targets"].vocabulary
    tokens = tf.ragged.constant(
        [vocabulary.encode(target) for target in targets], dtype=tf.int32
    )

    @seqio.map_over_dataset(num_seeds=1)
    def draw(example: Mapping[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        number = tf.random.stateless_uniform(
            [], seed, maxval=len(targets), dtype=tf.int32
        )
        return {**example, "targets": tokens[number]}

    return draw(dataset)


features.add_task(
    "c4_v220_random_positive_negative_targets",
    source=sources.TfdsSource("c4/en:2.2.0", ["train", "validation"]),
    preprocessors=[
        functools.partial(
            seqio.preprocessors.rekey, key_map={"inputs": None, "targets": "text"}
        ),
        seqio.preprocessors.tokenize,
        seqio.CacheDatasetPlaceholder(),
        random_prefixes,
        random_targets,
        seqio.preprocessors.append_eos_after_trim,
    ],
    metric_fns=[],
)
