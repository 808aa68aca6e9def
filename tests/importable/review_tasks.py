"""Tasks for tests, in the language of examples/demo/models: a review of two words, and
whether it is good or bad; by rank classification, and by what is decoded.
"""

import functools

import seqio
import tensorflow as tf
from tiny_tasks import TOKENIZE, VOCABULARY, exact_match, with_choices

from prompt_tuning_recycling.tasks import rank_classification

REVIEWS = {
    "good": ("soup lovely", "bread great", "cheese superb", "pasta splendid"),
    "bad": ("soup awful", "bread terrible", "cheese horrible", "pasta dreadful"),
}


def dataset(split, shuffle_files, seed=None):
    pairs = [(text, label) for label, texts in REVIEWS.items() for text in texts]
    inputs, targets = map(list, zip(*pairs, strict=True))
    return tf.data.Dataset.from_tensor_slices({"inputs": inputs, "targets": targets})


add = functools.partial(
    seqio.TaskRegistry.add,
    source=seqio.FunctionDataSource(dataset, splits=("test",)),
    output_features={
        "inputs": seqio.Feature(VOCABULARY),
        "targets": seqio.Feature(VOCABULARY),
    },
)
add("review_decoded", preprocessors=TOKENIZE, metric_fns=[exact_match])
add(
    "review_ranked",
    preprocessors=[with_choices, rank_classification.one_per_choice, *TOKENIZE],
    postprocess_fn=rank_classification.keep_ranking,
    metric_fns=[rank_classification.accuracy],
)
seqio.MixtureRegistry.add("review_both", ["review_decoded", "review_ranked"], 1.0)
add("review_silent", preprocessors=TOKENIZE, metric_fns=[])
seqio.TaskRegistry.add(
    "review_elsewhere",
    source=seqio.FunctionDataSource(dataset, splits=("train",)),
    output_features=seqio.get_mixture_or_task("review_decoded").output_features,
    preprocessors=TOKENIZE,
    metric_fns=[exact_match],
)
seqio.MixtureRegistry.add("review_partly", ["review_decoded", "review_elsewhere"], 1.0)
seqio.MixtureRegistry.add("review_none", ["review_silent", "review_elsewhere"], 1.0)
