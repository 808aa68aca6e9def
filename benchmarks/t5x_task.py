"""A task with one example, which T5X imports and scores in benchmarks/t5x_startup.py.
The environment variable VOCABULARY names a SentencePiece file.
"""

import os

import seqio
import tensorflow as tf

_VOCABULARY = seqio.SentencePieceVocabulary(os.environ["VOCABULARY"])
_FEATURE = seqio.Feature(_VOCABULARY, add_eos=True)

seqio.TaskRegistry.add(
    "one_example",
    source=seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(
            {"inputs": ["the film was good"], "targets": ["good"]}
        ),
        ["test"],
    ),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={"inputs": _FEATURE, "targets": _FEATURE},
)
