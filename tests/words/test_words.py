"""Which rows a recycler is fitted on."""

import importlib.resources
import json

import numpy as np
import pytest
import sentencepiece

from prompt_tuning_recycling import RecyclingError, Words, open_model
from prompt_tuning_recycling.words import read_embeddings
from prompt_tuning_recycling.words.words import of_another_vocabulary

from ..conftest import train_vocabulary


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "list.json"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "tiny.model"
    texts = ["the movie was great", "the film was terrible", "a great film"]
    train_vocabulary(path, texts * 20, 40)
    return path


def test_skips_then_takes(word_list):
    words = Words.from_list(word_list, num_words=4, word_offset=10)
    np.testing.assert_array_equal(words.fitted.source_rows, [13, 14, 15, 16])
    assert words.fitted.pieces[0] == "▁word10"


def test_holds_out_what_follows_then_what_was_skipped(word_list):
    words = Words.from_list(word_list, num_words=280, word_offset=15)
    np.testing.assert_array_equal(
        words.held_out.source_rows, [*range(298, 303), *range(3, 18)]
    )
    assert not set(words.held_out.source_rows) & set(words.fitted.source_rows)


def test_holds_out_a_thousand_at_most():
    assert len(Words.from_list(num_words=100, word_offset=0).held_out) == 1000


def test_all_from_an_offset_on(word_list):
    words = Words.from_list(word_list, num_words=None, word_offset=290)
    np.testing.assert_array_equal(words.fitted.source_rows, range(293, 303))


def test_the_default_is_entries_1000_to_5000_of_the_packages_list():
    package = importlib.resources.files("prompt_tuning_recycling")
    text = package.joinpath("words", "data", "english_words_t5.json").read_text("utf-8")
    words = Words.from_list()
    expected = [int(index) for index in json.loads(text)][1000:5000]
    np.testing.assert_array_equal(words.fitted.source_rows, expected)
    assert words.origin["word_list"] == "packaged:english_words_t5.json"
    assert len(words.origin["word_list_sha256"]) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "malformed"),
        ("[1, 2]", "malformed"),
        ('["1"]', "malformed"),
        ("{}", "malformed or empty"),
        ("3", "malformed"),
        ('{"a": "b", "1": "c"}', "found the entry 'a': 'b'"),
        ('{"-1": "b", "1": "c"}', "found the entry '-1'"),
        ('{"1": 2, "2": "c"}', "found the entry '1': 2"),
        ('{"1": "b", "1": "c"}', "index 1 more than once"),
        ('{"1": "b", "2": "c"}', "has 2 words: too few to skip 1000 and take 4000"),
        (None, "cannot read the word list"),
    ],
)
def test_a_list_that_cannot_be_used(write, tmp_path, text, message):
    path = tmp_path / "missing.json" if text is None else write(text)
    with pytest.raises(RecyclingError, match=message):
        Words.from_list(path)


def test_auto_is_the_papers_number_or_all_where_the_source_is_too_wide():
    words = Words.from_list(num_words="auto")
    papers, every = Words.from_list(), Words.from_list(num_words=None)
    for width, expected in ((768, papers), (2000, papers), (2001, every)):
        found = words.enough_for(width)
        for one in ("fitted", "held_out"):
            np.testing.assert_array_equal(
                getattr(found, one).source_rows, getattr(expected, one).source_rows
            )
        assert found.origin == expected.origin
    assert len(every.fitted) > 15_000


@pytest.mark.parametrize(("width", "count"), [(10, 4000), (2050, 4490)])
def test_a_wide_source_takes_all_words_when_they_are_read(write, width, count):
    path = write(json.dumps({str(i): f"w{i}" for i in range(4500)}))
    words = Words.from_list(path, num_words="auto", word_offset=10)
    source = open_model(np.ones((4500, width), np.float16))
    target = open_model(np.ones((4500, 3), np.float16))
    (embedded,) = read_embeddings(source, target, [words])
    assert len(embedded.words.fitted) == count
    assert embedded.words.origin["num_words"] == count
    assert len(embedded.held_out[0]) == min(1000, 4500 - count)


def test_auto_takes_all_of_a_short_list(word_list):
    words = Words.from_list(word_list, num_words="auto", word_offset=10)
    assert len(words.fitted) == 290
    assert words.enough_for(10_000) is words


def test_numbers_that_were_asked_for_are_taken_whatever_the_width():
    words = Words.from_list()
    assert words.enough_for(10_000) is words


@pytest.mark.parametrize(
    ("num_words", "word_offset"), [(1, 0), (-5, 0), (10, -1), ("all", 0), ("auto", -1)]
)
def test_numbers_that_make_no_sense(word_list, num_words, word_offset):
    with pytest.raises(RecyclingError, match="expected num_words of at least 2"):
        Words.from_list(word_list, num_words, word_offset)


def test_the_pieces_of_a_text_in_order_as_often_as_they_occur(vocabulary):
    processor = sentencepiece.SentencePieceProcessor(str(vocabulary))
    text = "the great film was great"
    words = Words.from_text(text, vocabulary)
    assert words.fitted.source_rows.tolist() == processor.encode(text)
    assert len(set(words.fitted.source_rows)) < len(words.fitted.source_rows)
    assert words.fitted.pieces == processor.id_to_piece(
        words.fitted.source_rows.tolist()
    )


def test_a_text_of_one_piece_is_too_short(vocabulary):
    with pytest.raises(RecyclingError, match="at least 2 different words"):
        Words.from_text("", vocabulary)


@pytest.mark.parametrize("content", [None, b"not a model", b""])
def test_a_vocabulary_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "v.model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecyclingError, match="expected a SentencePiece model"):
        Words.from_text("a text", path)


def test_rows_given_outright():
    words = Words.from_rows([7, 3, 9], held_out=[1])
    assert words.fitted.source_rows.tolist() == [7, 3, 9]
    assert words.held_out.source_rows.tolist() == [1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1], "at least 2 different words, found 1"),
        ([], "at least 2 different words, found 0"),
        ([3, -2], "cannot be negative, but -2"),
        ([3, 3], "at least 2 different words, found 1"),
        ([1.5, 2.0], "whole numbers"),
        ([[1, 2]], "whole numbers"),
    ],
)
def test_rows_that_cannot_be_used(rows, message):
    with pytest.raises(RecyclingError, match=message):
        Words.from_rows(rows)


@pytest.fixture(scope="session")
def packaged():
    package = importlib.resources.files("prompt_tuning_recycling")
    text = package.joinpath("words", "data", "english_words_t5.json").read_text("utf-8")
    return json.loads(text)


# Tables of T5's vocabulary: 32,000 pieces, 100 extra ids, padded to a multiple of 128.
@pytest.mark.parametrize(
    ("rows", "fits"),
    [
        (384, False),
        (20_000, False),
        (31_999, False),
        (32_000, True),
        (32_100, True),
        (32_128, True),
        (32_256, True),
        (50_257, False),
        (250_112, False),
    ],
)
def test_the_packages_list_is_of_one_vocabulary(rows, fits):
    sizes = Words.from_list(None, num_words=100, word_offset=0).table_sizes
    warning = of_another_vocabulary(sizes, rows, "a/model")
    assert (warning is None) == fits
    if not fits:
        assert f"a/model: its embedding table has {rows} rows" in warning
        assert "32000 to 32256" in warning


def test_a_list_of_the_t5_vocabulary_is_known_by_its_pieces(write, packaged):
    """Such as the published one, which is neither the package's nor named like it."""
    other = {i: piece for i, piece in packaged.items() if int(i) % 3}
    other |= {str(i): "a piece that was left out" for i in range(100)}
    words = Words.from_list(write(json.dumps(other)), num_words=50)
    assert words.table_sizes == (32_000, 32_256)


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: dict(zip(entries, reversed(entries.values()), strict=True)),
        lambda entries: {str(int(i) + 1): piece for i, piece in entries.items()},
        lambda entries: dict(list(entries.items())[:60]),
    ],
    ids=["other pieces", "other indices", "too few to tell"],
)
def test_of_a_list_of_ones_own_the_vocabulary_is_not_known(write, packaged, change):
    path = write(json.dumps(change(packaged)))
    words = Words.from_list(path, num_words=50, word_offset=0)
    assert words.table_sizes is None
    assert of_another_vocabulary(words.table_sizes, 250_112, "mt5") is None


def test_a_text_is_of_its_vocabulary(vocabulary):
    size = sentencepiece.SentencePieceProcessor(str(vocabulary)).vocab_size()
    sizes = Words.from_text("the great film", vocabulary).table_sizes
    for rows, fits in [
        (size - 1, False),
        (size, True),
        # umT5, which has the most extra ids: 256,000 pieces in 256,384 rows.
        (size + 384, True),
        (250_112, False),
    ]:
        assert (of_another_vocabulary(sizes, rows, "m") is None) == fits
