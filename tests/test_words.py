"""Which rows a recycler is fitted on."""

import importlib.resources
import io
import json

import numpy as np
import pytest
import sentencepiece

from prompt_tuning_recycling import RecyclingError, Words


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
    model = io.BytesIO()
    text = ["the movie was great", "the film was terrible", "a great film"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
    )
    path.write_bytes(model.getvalue())
    return path


def test_skips_then_takes(word_list):
    words = Words.from_list(word_list, num_words=4, word_offset=10)
    np.testing.assert_array_equal(words.rows, [13, 14, 15, 16])
    assert words.pieces[13] == "▁word10"


def test_holds_out_what_follows_then_what_was_skipped(word_list):
    words = Words.from_list(word_list, num_words=280, word_offset=15)
    np.testing.assert_array_equal(words.held_out, [*range(298, 303), *range(3, 18)])
    assert not set(words.held_out) & set(words.rows)


def test_holds_out_a_thousand_at_most():
    assert len(Words.from_list(num_words=100, word_offset=0).held_out) == 1000


def test_all_from_an_offset_on(word_list):
    words = Words.from_list(word_list, num_words=None, word_offset=290)
    np.testing.assert_array_equal(words.rows, range(293, 303))


def test_the_default_is_entries_1000_to_5000_of_the_packages_list():
    package = importlib.resources.files("prompt_tuning_recycling")
    text = package.joinpath("data", "english_words_t5.json").read_text("utf-8")
    words = Words.from_list()
    expected = [int(index) for index in json.loads(text)][1000:5000]
    np.testing.assert_array_equal(words.rows, expected)
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


@pytest.mark.parametrize(("num_words", "word_offset"), [(1, 0), (-5, 0), (10, -1)])
def test_numbers_that_make_no_sense(word_list, num_words, word_offset):
    with pytest.raises(RecyclingError, match="expected num_words of at least 2"):
        Words.from_list(word_list, num_words, word_offset)


def test_the_pieces_of_a_text_in_order_as_often_as_they_occur(vocabulary):
    processor = sentencepiece.SentencePieceProcessor(str(vocabulary))
    text = "the great film was great"
    words = Words.from_text(text, vocabulary)
    assert words.rows.tolist() == processor.encode(text)
    assert len(set(words.rows)) < len(words.rows)
    assert [words.pieces[i] for i in words.rows] == processor.id_to_piece(
        words.rows.tolist()
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
    assert words.rows.tolist() == [7, 3, 9]
    assert words.held_out.tolist() == [1]


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
