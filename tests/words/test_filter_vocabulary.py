"""Which pieces are English words, and the list that the package brings."""

import importlib.resources
import json

import pytest
import sentencepiece

from prompt_tuning_recycling import RecyclingError, Words
from prompt_tuning_recycling.words import filter_vocabulary as command
from prompt_tuning_recycling.words.filter_vocabulary import (
    Agreement,
    WordRule,
    compare,
    filter_vocabulary,
)

from ..conftest import train_vocabulary


@pytest.mark.parametrize("word", ["movie", "Movie", "GREAT", "the", "a"])
def test_english_words(word):
    assert filter_vocabulary([word]) == {0: word}


@pytest.mark.parametrize(
    "text",
    ["zwischen", "aceasta", "vous", "Gespräch", "2008", "--", "<pad>", "", "qzxv"],
)
def test_what_is_none(text):
    assert filter_vocabulary([text]) == {}


def test_another_language():
    german = WordRule(language="de")
    assert filter_vocabulary(["zwischen", "between"], german) == {0: "zwischen"}


def test_indices_stay_and_the_mark_of_a_words_start_goes():
    pieces = ["<pad>", "▁the", "▁zwischen", "the", "▁", "▁great"]
    assert filter_vocabulary(pieces) == {1: "the", 3: "the", 5: "great"}


def test_an_unknown_language():
    with pytest.raises(RecyclingError, match="language 'xx'"):
        filter_vocabulary(["a"], WordRule(language="xx"))


def test_agreement_with_another_list():
    ours, theirs = (dict.fromkeys(rows, "x") for rows in (range(1, 5), range(2, 7)))
    assert compare(ours, theirs, word_offset=1, num_words=2) == Agreement(
        precision=3 / 4, recall=3 / 5, slice_overlap=1 / 2
    )


def test_lists_too_short_to_compare():
    with pytest.raises(RecyclingError, match="too few to skip 1000 and take 4000"):
        compare({1: "a"}, {1: "a"})


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "tiny.model"
    texts = ["the movie was great", "der film war gut", "the film was terrible"]
    train_vocabulary(path, texts * 50, 60)
    return path


def test_from_a_model_to_a_list_that_is_used(run, tmp_path, vocabulary, capsys):
    output = tmp_path / "words.json"
    flags = {"vocabulary": str(vocabulary), "output_path": str(output)}
    assert run(command.main, flags) == 0
    again = {
        "vocabulary": str(vocabulary),
        "output_path": str(tmp_path / "again.json"),
        "compare_with": str(output),
        "num_words": "2",
        "word_offset": "0",
    }
    assert run(command.main, again) == 0
    assert "precision 1.000" in " ".join(capsys.readouterr().out.split())
    words = Words.from_list(output, num_words=2, word_offset=0)
    processor = sentencepiece.SentencePieceProcessor(str(vocabulary))
    fitted = words.fitted
    for index, piece in zip(fitted.source_rows.tolist(), fitted.pieces, strict=True):
        assert processor.id_to_piece(index).removeprefix("▁") == piece


def test_paths_in_the_home_folder(run, tmp_path, vocabulary, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = {"vocabulary": "~/tiny.model", "output_path": "~/words.json"}
    assert run(command.main, flags) == 0
    assert (tmp_path / "words.json").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"vocabulary": "nowhere.model"}, "expected a SentencePiece model"),
        ({"language": "xx"}, "language 'xx'"),
        ({"compare_with": "nowhere.json"}, "cannot read the word list"),
    ],
)
def test_bad_input_writes_nothing(run, tmp_path, vocabulary, capsys, flags, message):
    output = tmp_path / "words.json"
    given = {"vocabulary": str(vocabulary), "output_path": str(output), **flags}
    assert run(command.main, given) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_without_wordfreq(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wordfreq", None)
    with pytest.raises(RecyclingError, match=r"prompt_tuning_recycling\[vocabulary\]"):
        filter_vocabulary(["the"])


def packaged() -> bytes:
    package = importlib.resources.files("prompt_tuning_recycling")
    return package.joinpath("words", "data", "english_words_t5.json").read_bytes()


def test_the_packages_list_is_in_index_order():
    indices = [int(index) for index in json.loads(packaged())]
    assert indices == sorted(set(indices))
    assert len(indices) > 5000
    assert indices[-1] < 32000


@pytest.mark.thorough
def test_the_packages_list_is_reproduced_and_agrees_with_the_published_one(
    run, tmp_path, shared_data
):
    output = tmp_path / "words.json"
    flags = {
        "vocabulary": str(shared_data / "t5_vocab.model"),
        "output_path": str(output),
    }
    assert run(command.main, flags) == 0
    assert output.read_bytes() == packaged()
    published = json.loads(
        (shared_data / "filtered-vocab-english-only.json").read_text()
    )
    ours, theirs = (
        {int(index): piece for index, piece in words.items()}
        for words in (json.loads(packaged()), published)
    )
    agreement = compare(ours, theirs)
    assert agreement.precision > 0.9
    assert agreement.recall > 0.9
    assert agreement.slice_overlap > 0.9
