"""A seqio task small enough for tests: is a number even? Imported by the runs, in
processes of their own, for which PROMPT_RECYCLING_DATA names the vocabulary's folder.
"""

from __future__ import annotations

import os
import pathlib

import numpy as np
import seqio
import tensorflow as tf

from prompt_tuning_recycling.tasks import rank_classification

_VOCABULARY = seqio.SentencePieceVocabulary(
    str(pathlib.Path(os.environ["PROMPT_RECYCLING_DATA"]) / "t5_vocab.model")
)


def _examples(split: str, shuffle_files: bool, seed: int | None = None):
    count = {"train": 64, "validation": 16, "test": 16}[split]
    inputs = [f"is {number} an even number" for number in range(count)]
    targets = ["no" if number % 2 else "yes" for number in range(count)]
    return tf.data.Dataset.from_tensor_slices({"inputs": inputs, "targets": targets})


def _accuracy(targets, predictions):
    hits = [a == b for a, b in zip(targets, predictions, strict=True)]
    return {"accuracy": 100 * float(np.mean(hits))}


def _log_likelihood(targets, scores):
    return {"log_likelihood": float(np.mean(scores))}


def _with_choices(examples):
    choices = tf.constant(["yes", "no"])
    return examples.map(
        lambda example: {
            "inputs": example["inputs"],
            "choices": choices,
            "correct": choices == example["targets"],
        }
    )


_FEATURE = seqio.Feature(_VOCABULARY, add_eos=True)

seqio.TaskRegistry.add(
    "even_or_odd",
    source=seqio.FunctionDataSource(_examples, ["train", "validation", "test"]),
    preprocessors=[
        seqio.preprocessors.tokenize,
        seqio.CacheDatasetPlaceholder(),
        seqio.preprocessors.append_eos,
    ],
    output_features={"inputs": _FEATURE, "targets": _FEATURE},
    metric_fns=[_accuracy, _log_likelihood],
)
seqio.TaskRegistry.add(
    "even_or_odd_ranked",
    source=seqio.FunctionDataSource(_examples, ["train", "validation", "test"]),
    preprocessors=[
        _with_choices,
        rank_classification.one_per_choice,
        seqio.preprocessors.tokenize,
        seqio.preprocessors.append_eos,
    ],
    postprocess_fn=rank_classification.keep_ranking,
    output_features={"inputs": _FEATURE, "targets": _FEATURE},
    metric_fns=[rank_classification.accuracy],
)
