"""The demo's seqio tasks.

| task | inputs | targets |
|---|---|---|
| `demo_pretraining` | an instruction and a review | the answer |
| `demo_<attribute>` | a review | the attribute's label |
| `demo_<attribute>_instructed` | an instruction and a review | the same |

The last two are evaluated by rank classification. `demo_<attribute>` also has a split
`train`, of the reviews that prompts are tuned on: a choice among prompts takes its
inputs from there, without their labels.
"""

from __future__ import annotations

import functools
import os
import pathlib
import random
from collections.abc import Callable, Iterable

import seqio
import tensorflow as tf

from examples.demo import language
from prompt_tuning_recycling.tasks import rank_classification

# examples/study/vocabularies.py has others.
_OWN = pathlib.Path(__file__).parent / "models" / "vocabulary.model"
VOCABULARY = seqio.SentencePieceVocabulary(
    os.environ.get("DEMO_VOCABULARY", str(_OWN)), extra_ids=0
)
_FEATURES = {
    "inputs": seqio.Feature(VOCABULARY),
    "targets": seqio.Feature(VOCABULARY),
}
_TOKENIZE = [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos]
_SEEDS = {"train": 1, "validation": 2, "test": 3}
_SIZES = {"train": 8192, "validation": 256, "test": 256}


def _dataset(examples: Iterable[language.Example]) -> tf.data.Dataset:
    inputs, targets = map(list, zip(*examples, strict=True))
    return tf.data.Dataset.from_tensor_slices({"inputs": inputs, "targets": targets})


def _pairs(
    make: Callable[[random.Random], language.Example],
    split: str,
    shuffle_files: bool,
    seed: int | None = None,
) -> tf.data.Dataset:
    return _pairs_of_split(make, split)


@functools.cache
def _pairs_of_split(
    make: Callable[[random.Random], language.Example], split: str
) -> tf.data.Dataset:
    rng = random.Random(_SEEDS[split])
    return _dataset(make(rng) for _ in range(_SIZES[split]))


def _choices(
    make: Callable[[random.Random], language.Example],
    labels: tuple[str, ...],
    split: str,
    shuffle_files: bool,
    seed: int | None = None,
) -> tf.data.Dataset:
    def with_choices(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        choices = tf.constant(labels)
        return {
            "inputs": example["inputs"],
            "choices": choices,
            "correct": choices == example["targets"],
        }

    return _pairs(make, split, shuffle_files, seed).map(with_choices)


def _pretraining(
    split: str, shuffle_files: bool, seed: int | None = None
) -> tf.data.Dataset:
    count = 150_000 if split == "train" else 1_000
    return _dataset(language.pretraining(_SEEDS[split], count))


def _exact_match(targets: list[str], predictions: list[str]) -> dict[str, float]:
    matches = [a == b for a, b in zip(targets, predictions, strict=True)]
    return {"accuracy": 100.0 * sum(matches) / len(matches)}


def vocabulary_size() -> int:
    """Returns the number of words."""
    return len(language.vocabulary())


def telling_pieces() -> list[int]:
    """Returns the vocabulary indices of all labels and cue words, sorted."""
    words = [
        word for name in language.ATTRIBUTES for word in language.telling_words(name)
    ]
    return sorted(VOCABULARY.encode(" ".join(words)))


seqio.TaskRegistry.add(
    "demo_pretraining",
    source=seqio.FunctionDataSource(_pretraining, splits=("train", "validation")),
    preprocessors=_TOKENIZE,
    output_features=_FEATURES,
    metric_fns=[_exact_match],
)
for _name, _attribute in language.ATTRIBUTES.items():
    _labeled = functools.partial(language.labeled, name=_name)
    seqio.TaskRegistry.add(
        f"demo_{_name}_train",
        source=seqio.FunctionDataSource(
            functools.partial(_pairs, _labeled), splits=("train",)
        ),
        preprocessors=_TOKENIZE,
        output_features=_FEATURES,
    )
    for _suffix, _make, _splits in (
        ("", _labeled, ("train", "validation", "test")),
        (
            "_instructed",
            functools.partial(language.question, name=_name),
            ("validation", "test"),
        ),
    ):
        seqio.TaskRegistry.add(
            f"demo_{_name}{_suffix}",
            source=seqio.FunctionDataSource(
                functools.partial(_choices, _make, _attribute.labels),
                splits=_splits,
            ),
            preprocessors=[rank_classification.one_per_choice, *_TOKENIZE],
            postprocess_fn=rank_classification.keep_ranking,
            output_features=_FEATURES,
            metric_fns=[rank_classification.accuracy],
        )
