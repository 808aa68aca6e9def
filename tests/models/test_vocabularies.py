"""Pieces of every kind of tokenizer, in one notation."""

import json
import sys

import pytest
import sentencepiece
from tokenizers import AddedToken, Tokenizer

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models.vocabularies import Vocabulary

from ..conftest import train_vocabulary
from ..vocabularies import KINDS, train_tokenizer

TEXTS = [
    "the movie in Paris was great",
    "the café in Paris was terrible",
    "a great movie and a terrible café",
] * 40
# What each kind writes for a whole word.
MARKED = {
    "byte-level BPE": "\u0120{}",
    "marked BPE": "\u2581{}",
    "Unigram": "\u2581{}",
    "WordPiece": "{}",
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def file(tmp_path, kind):
    return train_tokenizer(tmp_path / "tokenizer.json", kind, TEXTS)


def test_words_at_the_beginning_of_a_word(file, kind):
    vocabulary, library = Vocabulary(file), Tokenizer.from_file(str(file))
    found = 0
    for word in ("the", "movie", "Paris", "great", "terrible"):
        row = library.token_to_id(MARKED[kind].format(word))
        assert vocabulary.row_of(word) == row
        if row is not None:
            assert vocabulary.pieces[row] == f"\u2581{word}"
            found += 1
    assert found >= (0 if kind == "Unigram" else 5)


def test_unigram_pieces(tmp_path):
    """Of so little text, Unigram learns few words by itself."""
    file = train_tokenizer(tmp_path / "t.json", "Unigram", TEXTS)
    spec = json.loads(file.read_text())
    spec["model"]["vocab"] += [["\u2581movie", -3.0], ["movie", -5.0]]
    file.write_text(json.dumps(spec))
    vocabulary, size = Vocabulary(file), len(spec["model"]["vocab"])
    assert vocabulary.row_of("movie") == size - 2
    assert vocabulary.row_of("movie", at_beginning=False) == size - 1
    assert vocabulary.row_of("<unk>", at_beginning=False) is None


def test_case_is_kept(file):
    vocabulary = Vocabulary(file)
    assert vocabulary.row_of("paris") is None
    assert vocabulary.row_of("Movie") is None


def test_pieces_that_continue_words_are_not_words(tmp_path):
    for kind, continuing in (("WordPiece", "##s"), ("byte-level BPE", "s")):
        file = train_tokenizer(tmp_path / f"{kind}.json", kind, TEXTS)
        row = Tokenizer.from_file(str(file)).token_to_id(continuing)
        vocabulary = Vocabulary(file)
        assert row is not None
        assert vocabulary.pieces[row] == "s"
        assert vocabulary.row_of("s", at_beginning=False) == row
        assert vocabulary.row_of("s") != row


def test_words_of_other_letters_in_byte_level_pieces(tmp_path):
    file = train_tokenizer(tmp_path / "t.json", "byte-level BPE", TEXTS)
    row = Vocabulary(file).row_of("café")
    assert row is not None
    assert Tokenizer.from_file(str(file)).decode([row]) == " café"


def test_a_letter_that_looks_like_the_mark_is_not_the_mark(tmp_path):
    texts = ["\u2581movie \u2581movie"] * 40
    file = train_tokenizer(tmp_path / "t.json", "byte-level BPE", texts)
    assert Vocabulary(file).row_of("movie") is None


def test_added_and_special_tokens_are_not_words(file, kind):
    tokenizer = Tokenizer.from_file(str(file))
    marked = MARKED[kind]
    tokenizer.add_tokens([AddedToken(marked.format("brand"), normalized=False)])
    tokenizer.add_special_tokens([marked.format("movie")])
    tokenizer.save(str(file))
    vocabulary = Vocabulary(file)
    assert tokenizer.token_to_id(marked.format("brand")) is not None
    assert vocabulary.row_of("brand") is None
    assert vocabulary.row_of("movie") is None
    assert vocabulary.row_of("great") == tokenizer.token_to_id(marked.format("great"))
    assert len(vocabulary.pieces) == tokenizer.get_vocab_size()
    assert vocabulary.pieces[0] is None


@pytest.mark.parametrize("piece", ["<0x41>", "[unused7]", "<unused12>"])
def test_bytes_and_unused_pieces_are_not_words(tmp_path, piece):
    file = train_tokenizer(tmp_path / "t.json", "WordPiece", TEXTS)
    spec = json.loads(file.read_text())
    spec["model"]["vocab"][piece] = row = len(spec["model"]["vocab"])
    file.write_text(json.dumps(spec))
    vocabulary = Vocabulary(file)
    assert len(vocabulary.pieces) == row + 1
    assert vocabulary.pieces[row] is None
    assert vocabulary.fewest_rows == row


def test_a_text_has_no_special_tokens(file, kind):
    vocabulary = Vocabulary(file)
    rows = vocabulary.encode("the movie")
    assert "".join(vocabulary.pieces[row] for row in rows) == "\u2581the\u2581movie"


def test_sentencepiece(tmp_path):
    train_vocabulary(tmp_path / "v.model", TEXTS, 60)
    processor = sentencepiece.SentencePieceProcessor(str(tmp_path / "v.model"))
    vocabulary = Vocabulary(tmp_path / "v.model")
    assert len(vocabulary.pieces) == processor.vocab_size()
    assert vocabulary.pieces[:3] == (None, None, None)
    for row in range(3, processor.vocab_size()):
        piece = processor.id_to_piece(row)
        assert vocabulary.pieces[row] == piece
        if piece.startswith("\u2581"):
            assert vocabulary.row_of(piece[1:]) == row
    assert vocabulary.encode("the movie") == processor.encode("the movie")


def test_t5s_words(shared_data):
    vocabulary = Vocabulary(shared_data / "t5_vocab.model")
    assert vocabulary.row_of("myself") == 1512
    assert vocabulary.row_of("June") == 1515
    assert vocabulary.row_of("june") is None
    assert vocabulary.table_sizes[0] == 32_000


def as_tokenizer_json(model, path, extra):
    """The same pieces in the other library's file, as Hugging Face writes T5's."""
    processor = sentencepiece.SentencePieceProcessor(str(model))
    size = processor.vocab_size()
    pieces = [
        (processor.id_to_piece(row), processor.get_score(row)) for row in range(size)
    ]
    spec = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": row,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for row, content in [(i, pieces[i][0]) for i in range(3)]
            + [(size + i, f"<extra_id_{i}>") for i in range(extra)]
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "\u2581",
            "prepend_scheme": "always",
            "split": True,
        },
        "post_processor": None,
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces},
    }
    path.write_text(json.dumps(spec))
    return path


def test_one_vocabulary_in_files_of_two_kinds(tmp_path):
    train_vocabulary(tmp_path / "v.model", TEXTS, 60)
    model = Vocabulary(tmp_path / "v.model")
    same = as_tokenizer_json(tmp_path / "v.model", tmp_path / "tokenizer.json", 100)
    other = train_tokenizer(tmp_path / "other.json", "byte-level BPE", TEXTS)
    assert model.sha256 != Vocabulary(same).sha256
    assert model.is_same(Vocabulary(same))
    assert Vocabulary(same).is_same(model)
    assert not model.is_same(Vocabulary(other))
    assert not Vocabulary(other).is_same(model)


def test_a_longer_vocabulary_is_another(tmp_path):
    file = train_tokenizer(tmp_path / "t.json", "WordPiece", TEXTS)
    spec = json.loads(file.read_text())
    size = len(spec["model"]["vocab"])
    spec["model"]["vocab"] |= {f"word{i}": size + i for i in range(size)}
    (tmp_path / "longer.json").write_text(json.dumps(spec))
    assert not Vocabulary(file).is_same(Vocabulary(tmp_path / "longer.json"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"not a model", "INTERNAL"),
        (b'{"a', "JSON that is damaged"),
        (b'{"hello": 0}', "other JSON, without a model"),
        (b'{"model": {"type": "BPE", "vocab": {}}}', "do not tell where words begin"),
        (
            b'{"model": {"type": "WordPiece", "vocab": 3}}',
            "a tokenizer.json that is damaged",
        ),
        (b"aGVsbG8= 0\naGVsbA== 1\n", "tiktoken; give the model's tokenizer.json"),
        (b"\x80\x04\x95pickle", "INTERNAL"),
    ],
)
def test_files_that_are_no_vocabulary(tmp_path, content, found):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(RecyclingError, match="cannot read the vocabulary") as error:
        _ = Vocabulary(tmp_path / "tokenizer.json").pieces
    assert found in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_was_cut(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(RecyclingError, match="found: JSON that is damaged") as error:
        Vocabulary(file).row_of("movie")
    assert "\n" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(RecyclingError, match="cannot read the vocabulary .*nowhere"):
        Vocabulary(tmp_path / "nowhere")


def test_the_library_may_be_missing(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(RecyclingError, match=r"prompt_tuning_recycling\[tokenizers\]"):
        Vocabulary(file).row_of("movie")
