"""Fixtures: tokenizers of every kind that know the same 2,500 words, at other rows."""

import itertools
import json
import random

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer

from prompt_tuning_recycling import open_model

from ..conftest import train_vocabulary
from ..vocabularies import KINDS, train_tokenizer

SYLLABLES = ("ba", "ko", "mi", "Tu", "la", "se")
WORDS = ["".join(parts) for parts in itertools.product(SYLLABLES, repeat=5)][::3][:2500]
MARKED = {
    "SentencePiece": "\u2581{}",
    "byte-level BPE": "\u0120{}",
    "marked BPE": "\u2581{}",
    "Unigram": "\u2581{}",
    "WordPiece": "{}",
}


@pytest.fixture(scope="session")
def vocabulary_files(tmp_path_factory):
    """Kind -> a vocabulary file of that kind, as it lies beside a model."""
    folder = tmp_path_factory.mktemp("vocabularies")
    texts = [f"{word} {word}s {word}" for word in WORDS] * 2
    random.Random(0).shuffle(texts)
    files = {
        kind: train_tokenizer(folder / kind / "tokenizer.json", kind, texts, 12_000)
        for kind in KINDS
    }
    files["SentencePiece"] = folder / "spiece.model"
    train_vocabulary(files["SentencePiece"], texts, 8000)
    return files


@pytest.fixture(scope="session")
def rows_of(vocabulary_files):
    """Asks the libraries themselves for the rows of words."""

    def rows_of(kind, words):
        file = str(vocabulary_files[kind])
        if kind == "SentencePiece":
            lookup = sentencepiece.SentencePieceProcessor(file).piece_to_id
        else:
            lookup = Tokenizer.from_file(file).token_to_id
        return np.array([lookup(MARKED[kind].format(word)) for word in words])

    return rows_of


@pytest.fixture(scope="session")
def model_of(vocabulary_files):
    """Makes a model with a vocabulary of a kind, and its table."""

    def model_of(kind, width, rows=6000, seed=0, vocabulary=True):
        rng = np.random.default_rng([seed, width])
        table = rng.normal(size=(rows, width)).astype(np.float32)
        file = vocabulary_files[kind] if vocabulary else None
        return open_model(table, vocabulary=file), table

    return model_of


# A table has at most a tenth more rows than its vocabulary needs, or 1,100.
ROWS = {"SentencePiece": 3000, "Unigram": 3000}


@pytest.fixture
def listed(tmp_path):
    """The words as a list of some third vocabulary: its indices are those of neither
    model.
    """
    path = tmp_path / "listed.json"
    entries = {str(40_000 + 2 * i): word for i, word in enumerate(WORDS)}
    path.write_text(json.dumps(entries))
    return path
