"""Which pieces are English words, and the list that the package brings."""

import importlib.resources
import io
import json

import pytest
import sentencepiece

from prompt_tuning_recycling import RecyclingError, Words, filter_vocabulary
from prompt_tuning_recycling.filter_vocabulary import WordRule, agreement


@pytest.fixture(scope="module")
def rule():
    return WordRule()


@pytest.mark.parametrize("word", ["movie", "Movie", "GREAT", "the"])
def test_english_words(rule, word):
    assert rule.is_word(word)


@pytest.mark.parametrize(
    "text",
    ["zwischen", "aceasta", "vous", "Gespräch", "2008", "--", "<pad>", "", "qzxv"],
)
def test_what_is_none(rule, text):
    assert not rule.is_word(text)


def test_another_language():
    german = WordRule(language="de", others=("en", "fr", "ro"))
    assert german.is_word("zwischen")
    assert not german.is_word("between")


def test_indices_stay_and_the_mark_of_a_words_start_goes(rule):
    pieces = ["<pad>", "▁the", "▁zwischen", "the", "▁", "▁great"]
    found = filter_vocabulary.filter_vocabulary(pieces, rule)
    assert found == {1: "the", 3: "the", 5: "great"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"language": "xx"}, "no language 'xx'"),
        ({"min_share": 1.5}, "min_share to be from 0 to 1"),
    ],
)
def test_rules_that_make_no_sense(parameters, message):
    with pytest.raises(RecyclingError, match=message):
        WordRule(**parameters)


def test_agreement_with_another_list():
    assert agreement([1, 2, 3, 4], [2, 3, 4, 5, 6], num_words=2, word_offset=1) == {
        "precision": 3 / 4,
        "recall": 3 / 5,
        "overlap": 1 / 2,
    }


@pytest.fixture
def vocabulary(tmp_path):
    model = io.BytesIO()
    text = ["the movie was great", "der film war gut", "the film was terrible"] * 50
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
    )
    path = tmp_path / "tiny.model"
    path.write_bytes(model.getvalue())
    return path


def test_from_a_model_to_a_list_that_is_used(run, tmp_path, vocabulary, capsys):
    output = tmp_path / "words.json"
    flags = {"vocabulary": str(vocabulary), "output_path": str(output)}
    assert run(filter_vocabulary.main, flags) == 0
    again = {**flags, "compare_with": str(output), "num_words": "2", "word_offset": "0"}
    assert run(filter_vocabulary.main, again) == 0
    assert "precision 1.000" in " ".join(capsys.readouterr().out.split())
    words = Words.from_list(output, num_words=2, word_offset=0)
    processor = sentencepiece.SentencePieceProcessor(str(vocabulary))
    for index, piece in words.pieces.items():
        assert processor.id_to_piece(index).removeprefix("▁") == piece


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"vocabulary": "nowhere.model"}, "expected a SentencePiece model"),
        ({"language": "xx"}, "no language 'xx'"),
        ({"min_zipf": "9"}, "Lower --min_zipf"),
        ({"compare_with": "nowhere.json"}, "cannot read the word list"),
    ],
)
def test_bad_input_writes_nothing(run, tmp_path, vocabulary, capsys, flags, message):
    output = tmp_path / "words.json"
    given = {"vocabulary": str(vocabulary), "output_path": str(output), **flags}
    assert run(filter_vocabulary.main, given) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_without_wordfreq(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wordfreq", None)
    with pytest.raises(RecyclingError, match=r"prompt_tuning_recycling\[vocabulary\]"):
        WordRule()


def packaged() -> bytes:
    package = importlib.resources.files("prompt_tuning_recycling")
    return package.joinpath("data", "english_words_t5.json").read_bytes()


def test_the_packages_list_is_in_index_order():
    indices = [int(index) for index in json.loads(packaged())]
    assert indices == sorted(set(indices))
    assert len(indices) > 5000
    assert indices[-1] < 32000


def test_the_packages_list_is_reproduced_and_agrees_with_the_published_one(
    run, tmp_path, shared_data
):
    output = tmp_path / "words.json"
    flags = {
        "vocabulary": str(shared_data / "t5_vocab.model"),
        "output_path": str(output),
    }
    assert run(filter_vocabulary.main, flags) == 0
    assert output.read_bytes() == packaged()
    published = json.loads(
        (shared_data / "filtered-vocab-english-only.json").read_text()
    )
    ours, theirs = (
        [int(i) for i in words] for words in (json.loads(packaged()), published)
    )
    figures = agreement(ours, theirs, num_words=4000, word_offset=1000)
    assert min(figures.values()) > 0.9
