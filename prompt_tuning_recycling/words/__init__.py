"""Words: vocabulary entries that two models share. A map between the models is learned
and judged on them.
"""

from prompt_tuning_recycling.words.aligned import AlignedWords
from prompt_tuning_recycling.words.alignment import FEWEST_WORDS
from prompt_tuning_recycling.words.embeddings import (
    EmbeddedWords,
    WordEmbeddings,
    read_embeddings,
)
from prompt_tuning_recycling.words.words import NUM_WORDS, WORD_OFFSET, Words

__all__ = [
    "FEWEST_WORDS",
    "NUM_WORDS",
    "WORD_OFFSET",
    "AlignedWords",
    "EmbeddedWords",
    "WordEmbeddings",
    "Words",
    "read_embeddings",
]
