"""Tasks for tests: two-word reviews in the language of examples/demo/models.

| task | inputs | targets |
|---|---|---|
| `tiny_train` | a review | good or bad; no metrics |
| `tiny_ranked` | a review | likewise, by rank classification |
| `tiny_generated` | a review | likewise, by exact match of what is decoded |
| `tiny_both` | | the mixture of the latter two |
| `tiny_apart` | | the mixture of a task for training and one that ranks in validation |
| `tiny_pairs` | a review | likewise by rank classification, of two adjectives |
| `tiny_ragged` | a review | likewise, of good, bad and sometimes a third word |
| `tiny_empty` | | no examples |

The reviews are sorted by label.

A module of its own, as a user's is: MIXTURE_OR_TASK_MODULE = 'tiny_tasks'.
"""

import functools
import itertools
import pathlib

import seqio
import tensorflow as tf

from prompt_tuning_recycling.tasks import rank_classification

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
VOCABULARY_FILE = CHECKOUT / "examples/demo/models/vocabulary.model"
LABELS = ("good", "bad")
ADJECTIVES = (
    ("lovely", "great", "superb", "splendid", "wonderful", "charming", "brilliant"),
    ("awful", "terrible", "horrible", "dreadful", "nasty", "poor", "boring"),
)
NOUNS = ("soup", "bread", "cheese", "pasta", "salad", "cake", "pizza", "stew", "rice")


def reviews(split):
    """Texts and labels; a noun is in one split only."""
    nouns = NOUNS[:6] if split == "train" else NOUNS[6:]
    pairs = [
        (f"{noun} {adjective}", label)
        for label, adjectives in zip(LABELS, ADJECTIVES, strict=True)
        for noun, adjective in itertools.product(nouns, adjectives)
    ]
    inputs, targets = zip(*pairs, strict=True)
    return list(inputs), list(targets)


def dataset(split, shuffle_files, seed=None):
    inputs, targets = reviews(split)
    examples = {"inputs": inputs, "targets": targets}
    # So few examples are read sooner than it takes to find out how to read them fast.
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices(examples).with_options(options)


def with_choices(examples):
    return examples.map(
        lambda example: {
            "inputs": example["inputs"],
            "choices": tf.constant(LABELS),
            "correct": tf.constant(LABELS) == example["targets"],
        }
    )


def with_pairs(examples):
    """Choices that differ between reviews: an adjective of each label."""
    pairs = tf.constant(list(zip(*ADJECTIVES, strict=True)))
    return examples.enumerate().map(
        lambda number, example: {
            "inputs": example["inputs"],
            "choices": pairs[number % len(pairs)],
            "correct": tf.constant(LABELS) == example["targets"],
        }
    )


def with_third_choice(examples):
    def add_one(number, example):
        more = tf.constant(["yes"])[: number % 2]
        return {
            "inputs": example["inputs"],
            "choices": tf.concat([example["choices"], more], axis=0),
            "correct": tf.concat([example["correct"], more == "good"], axis=0),
        }

    return with_choices(examples).enumerate().map(add_one)


def exact_match(targets, predictions):
    return {
        "accuracy": 100.0 * sum(map(str.__eq__, targets, predictions)) / len(targets)
    }


VOCABULARY = seqio.SentencePieceVocabulary(str(VOCABULARY_FILE), extra_ids=0)
TOKENIZE = [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos]
SPLITS = ("train", "validation", "test")
add = functools.partial(
    seqio.TaskRegistry.add,
    source=seqio.FunctionDataSource(dataset, splits=SPLITS),
    output_features={
        "inputs": seqio.Feature(VOCABULARY),
        "targets": seqio.Feature(VOCABULARY),
    },
)
add("tiny_train", preprocessors=TOKENIZE)
add("tiny_generated", preprocessors=TOKENIZE, metric_fns=[exact_match])


def add_ranked(name, choices=with_choices, splits=SPLITS):
    add(
        name,
        source=seqio.FunctionDataSource(dataset, splits=splits),
        preprocessors=[choices, rank_classification.one_per_choice, *TOKENIZE],
        postprocess_fn=rank_classification.keep_ranking,
        metric_fns=[rank_classification.accuracy],
    )


add_ranked("tiny_ranked")
add_ranked("tiny_pairs", with_pairs)
add_ranked("tiny_ragged", with_third_choice)
add_ranked("tiny_empty", lambda examples: with_choices(examples.take(0)))
add_ranked("tiny_ranked_only_validation", splits=("validation",))
add(
    "tiny_only_train",
    source=seqio.FunctionDataSource(dataset, splits=("train",)),
    preprocessors=TOKENIZE,
)
seqio.MixtureRegistry.add("tiny_both", ["tiny_generated", "tiny_ranked"], 1.0)
seqio.MixtureRegistry.add(
    "tiny_apart", ["tiny_only_train", "tiny_ranked_only_validation"], 1.0
)
