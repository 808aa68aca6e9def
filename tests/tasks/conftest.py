"""Fixtures: datasets as TFDS itself writes them, and tasks that read them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gin
import numpy as np
import pytest
import sentencepiece
import seqio
import tensorflow_datasets as tfds

from prompt_tuning_recycling.tasks import features, paper  # noqa: F401

# SST-2's and IMDB's validation is the last 1,000 of train, QQP's and ReCoRD's 10,000.
SST2_TRAIN, QQP_TRAIN = 1_003, 10_002


def write_dataset(
    folder: pathlib.Path, name: str, splits: Mapping[str, Sequence[Any]]
) -> None:
    """Writes TFRecords and metadata with the dataset's own features."""
    builder = tfds.builder(name, data_dir=folder)
    builder.data_path.mkdir(parents=True)
    writer = tfds.core.SequentialWriter(builder.info, max_examples_per_shard=6_000)
    writer.initialize_splits(list(splits))
    writer.add_examples(splits)
    writer.close_all()


def sst2_examples(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {"sentence": f"film {n} ", "label": n % 2, "idx": n}
        for n in range(start, start + count)
    ]


def qqp_examples(count: int) -> list[dict[str, Any]]:
    return [
        {"question1": f"why {n} ?", "question2": "how ?", "label": n % 2, "idx": n}
        for n in range(count)
    ]


# The first example of SST-2's training set, and one as in its test set, unlabeled.
SST2_VALIDATION = [
    {
        "sentence": "hide new secretions from the parental units ",
        "label": 0,
        "idx": 0,
    },
    {"sentence": "that loves its characters", "label": 1, "idx": 1},
    {"sentence": "uneasy mishmash of styles and genres .", "label": -1, "idx": 2},
]
QQP_VALIDATION = [
    {
        "question1": "Why are African-Americans so beautiful?",
        "question2": "Why are hispanics so beautiful?",
        "label": 0,
        "idx": 0,
    },
    {
        "question1": "How can I be a good geologist?",
        "question2": "What should I do to be a great geologist?",
        "label": 1,
        "idx": 1,
    },
    {"question1": "", "question2": "Which?", "label": -1, "idx": 2},
    {
        "question1": "How can I be a good geologist?",
        "question2": "What should I do to be a great geologist?",
        "label": 1,
        "idx": 3,
    },
]
IMDB_TEST = [
    {"text": "A dull film.<br /><br />Avoid.", "label": 0},
    {"text": "Wonderful!", "label": 1},
    {"text": "Who knows.", "label": -1},
]
RECORD_VALIDATION = [
    {
        "passage": (
            "The harrowing stories of women and children locked up "
            "for so-called 'moral crimes' in Afghanistan's notorious female "
            "prison have been revealed after cameras were allowed inside.\n"
            "@highlight\nMariam has been in Badam Bagh prison for three months\n"
            "@highlight\nShe shot a man who raped her"
        ),
        "query": "Nuria said she was forced to marry @placeholder",
        "entities": ["Afghanistan", "Badam Bagh", "Mariam", "Nuria"],
        "answers": ["Badam Bagh", "Nuria"],
        "idx": {"passage": 7, "query": 11},
    },
    {
        "passage": "",
        "query": "@placeholder won",
        "entities": ["Ghana"],
        "answers": ["Ghana"],
        "idx": {"passage": 8, "query": 12},
    },
    {
        "passage": 'Is it?\n@highlight\nNo!\n@highlight\n"Yes"\n@highlight\nEnd',
        "query": "Q @placeholder",
        "entities": ["A", "B"],
        "answers": [],
        "idx": {"passage": 9, "query": 13},
    },
]


@pytest.fixture(scope="session")
def written_folder(tmp_path_factory) -> pathlib.Path:
    """Small datasets of the real structure."""
    folder = tmp_path_factory.mktemp("tfds")
    write_dataset(
        folder,
        "glue/sst2:2.0.0",
        {"train": sst2_examples(0, SST2_TRAIN), "validation": SST2_VALIDATION},
    )
    write_dataset(
        folder,
        "glue/qqp:2.0.0",
        {"train": qqp_examples(QQP_TRAIN), "validation": QQP_VALIDATION},
    )
    write_dataset(
        folder,
        "imdb_reviews/plain_text:1.0.0",
        {
            "train": [{"text": f"film {n}", "label": n % 2} for n in range(SST2_TRAIN)],
            "test": IMDB_TEST,
        },
    )
    write_dataset(
        folder,
        "super_glue/record:1.0.2",
        {
            "train": [
                {**RECORD_VALIDATION[0], "idx": {"passage": n, "query": n}}
                for n in range(QQP_TRAIN)
            ],
            "validation": RECORD_VALIDATION,
        },
    )
    page = {
        "url": "http://a.example",
        "content-type": "text/plain",
        "content-length": "9",
        "timestamp": "2019-04-20T00:00:00Z",
    }
    texts = ["one two three four five six seven eight nine ten " * 20, "", "word"]
    write_dataset(
        folder,
        "c4/en:2.2.0",
        {
            split: [{**page, "text": text} for text in texts]
            for split in ("train", "validation")
        },
    )
    return folder


@pytest.fixture
def tfds_folder(written_folder) -> Iterator[pathlib.Path]:
    """Where every task looks for its dataset, with small ones of the real structure."""
    seqio.set_tfds_data_dir_override(str(written_folder))
    yield written_folder
    seqio.set_tfds_data_dir_override(None)


@pytest.fixture
def t5_vocabulary(shared_data) -> Iterator[seqio.SentencePieceVocabulary]:
    """The real vocabulary, told to the tasks as a model file's gin would."""
    file = str(shared_data / "t5_vocab.model")
    with gin.unlock_config():
        gin.bind_parameter(
            "prompt_tuning_recycling.tasks.features.vocabulary.file", file
        )
    yield seqio.SentencePieceVocabulary(file)
    gin.clear_config()


@pytest.fixture
def demo_vocabulary() -> Iterator[str]:
    """The demo's words, for tests that need some vocabulary."""
    root = pathlib.Path(__file__).resolve().parents[2]
    file = str(root / "examples" / "demo" / "models" / "vocabulary.model")
    with gin.unlock_config():
        gin.bind_parameter(
            "prompt_tuning_recycling.tasks.features.vocabulary.file", file
        )
    yield file
    gin.clear_config()


@pytest.fixture(scope="session")
def letters_file(tmp_path_factory) -> str:
    """A vocabulary of single letters, to which no two different words are the same."""
    prefix = tmp_path_factory.mktemp("vocabulary") / "letters"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            ["abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
        ),
        model_prefix=str(prefix),
        model_type="char",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return str(prefix.with_suffix(".model"))


@pytest.fixture
def letters(letters_file) -> Iterator[str]:
    """These letters as the tasks' vocabulary."""
    with gin.unlock_config():
        gin.bind_parameter(
            "prompt_tuning_recycling.tasks.features.vocabulary.file", letters_file
        )
    yield letters_file
    gin.clear_config()


@pytest.fixture
def texts(tfds_folder, demo_vocabulary) -> Callable[..., list[tuple[str, str]]]:
    """The inputs and targets of a task's split, before they are cut into pieces."""

    return lambda name, split="validation": texts_of(examples(name, split))


def texts_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Inputs and targets, before they are cut into pieces."""
    return [
        (row["inputs_pretokenized"].decode(), row["targets_pretokenized"].decode())
        for row in rows
    ]


def examples(
    name: str,
    split: str = "validation",
    lengths: Mapping[str, int] | None = None,
    **options: Any,
) -> list[dict[str, np.ndarray]]:
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        lengths, split, shuffle=False, seed=0, **options
    )
    return list(dataset.as_numpy_iterator())
