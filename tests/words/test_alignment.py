"""Words of models with different vocabularies are found by their text."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest

from prompt_tuning_recycling import (
    RecyclingError,
    Words,
    open_model,
    recycle_prompt,
    recyclers,
)
from prompt_tuning_recycling.models.vocabularies import Vocabulary
from prompt_tuning_recycling.records.text import record_text
from prompt_tuning_recycling.words import WordEmbeddings, read_embeddings

from ..conftest import EMBEDDING
from ..vocabularies import train_tokenizer
from .conftest import MARKED, ROWS, WORDS


@pytest.fixture
def words(listed):
    return Words.from_list(listed, num_words=2300, word_offset=100)


@pytest.fixture
def prompt(rng):
    return rng.normal(size=(4, 7)).astype(np.float32)


def pair(model_of, one, other):
    return (
        model_of(one, 7, ROWS.get(one, 6000))[0],
        model_of(other, 9, ROWS.get(other, 6000))[0],
    )


PAIRS = [
    *itertools.permutations(["SentencePiece", "byte-level BPE", "WordPiece"], 2),
    ("marked BPE", "Unigram"),
    ("Unigram", "byte-level BPE"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_words_are_found_in_both_by_their_text(
    model_of, rows_of, words, prompt, one, other
):
    source, target = pair(model_of, one, other)
    fitted, held_out = WORDS[100:2400], [*WORDS[2400:], *WORDS[:100]]
    rows = {
        which: [rows_of(kind, some) for kind in (one, other)]
        for which, some in (("fitted", fitted), ("held_out", held_out))
    }
    (embedded,) = read_embeddings(source, target, [words])
    for which, (of_source, of_target) in rows.items():
        found = getattr(embedded.words, which)
        np.testing.assert_array_equal(found.source_rows, of_source)
        np.testing.assert_array_equal(found.target_rows, of_target)
    # The map is learned on these rows, and on no others.
    recycled = recycle_prompt(source, target, prompt, words=words)
    of_source, of_target = rows["fitted"]
    fit = recyclers.make("v2v-lin").fit(
        *(
            embedded_words(model, some)
            for model, some in ((source, of_source), (target, of_target))
        )
    )
    np.testing.assert_array_equal(recycled.array, fit.map.apply(prompt))


def embedded_words(model, rows):
    return WordEmbeddings.checked(model.embeddings.take(rows), "")


@pytest.mark.parametrize(("one", "other"), PAIRS[:3])
def test_the_record(model_of, vocabulary_files, rows_of, words, prompt, one, other):
    source, target = pair(model_of, one, other)
    recycled = recycle_prompt(source, target, prompt, words=words, recycler="sparse")
    record = json.loads(json.dumps(recycled.record))
    for role, kind in (("source", one), ("target", other)):
        vocabulary = Vocabulary(vocabulary_files[kind])
        assert record["words"][f"{role}_vocabulary"] == {
            "path": str(vocabulary_files[kind]),
            "sha256": vocabulary.sha256,
        }
    assert record["words"]["asked"] == record["words"]["found"] == 2300
    assert record["words"]["fitted"] == 2300
    assert record["words"]["held_out"] == 200
    assert not any("words asked for" in warning for warning in record["warnings"])
    # Every word has both indices, and the target's piece.
    named = [
        entry
        for part in ("nearest_pieces", "combination")
        for vector in record[part]
        for entry in vector
    ]
    assert len(named) == 4 * (3 + 4)
    for entry in named:
        word = entry["piece"].removeprefix("\u2581")
        assert entry["piece"] == f"\u2581{word}"
        assert entry["row"] == [int(rows_of(kind, [word])[0]) for kind in (one, other)]
    text = record_text(record)
    assert "found         2300 of 2300 asked for" in text
    assert f"{vocabulary_files[one]} and {vocabulary_files[other]}" in text


def test_words_that_one_side_lacks_are_left_out(model_of, tmp_path, prompt):
    """Other case, more than one piece, a piece that only continues words, a piece that
    is listed twice.
    """
    source, target = pair(model_of, "SentencePiece", "WordPiece")
    lacking = ["batu", "notoneword", "s", WORDS[0].upper(), WORDS[5], WORDS[6]]
    asked = [*WORDS[:2100], *lacking]
    path = tmp_path / "words.json"
    path.write_text(json.dumps({str(i): word for i, word in enumerate(asked)}))
    words = Words.from_list(path, num_words=None, word_offset=0)
    recycled = recycle_prompt(source, target, prompt, words=words)
    assert recycled.record["words"]["asked"] == 2106
    assert recycled.record["words"]["found"] == 2100


def test_words_are_fitted_on_or_held_out_not_both(model_of, tmp_path, prompt):
    source, target = pair(model_of, "SentencePiece", "WordPiece")
    asked = [*WORDS[:2100], *WORDS[50:60], "\u2581" + WORDS[2200]]
    path = tmp_path / "words.json"
    path.write_text(json.dumps({str(i): word for i, word in enumerate(asked)}))
    words = Words.from_list(path, num_words=2100, word_offset=0, allow_few=True)
    with pytest.raises(RecyclingError, match="found 0"):
        recycle_prompt(source, target, prompt, words=words)
    path.write_text(json.dumps({str(i): word for i, word in enumerate(asked[:-1])}))
    words = Words.from_list(path, num_words=2100, word_offset=0)
    recycled = recycle_prompt(source, target, prompt, words=words)
    assert recycled.record["words"]["held_out"] == 0


def test_the_words_of_a_text(model_of, vocabulary_files, rows_of, prompt):
    source, target = pair(model_of, "WordPiece", "byte-level BPE")
    some = WORDS[:40]
    for kind in ("WordPiece", "byte-level BPE", "SentencePiece"):
        text = " ".join(["", *some, some[3]])
        words = Words.from_text(text, vocabulary_files[kind], allow_few=True)
        (embedded,) = read_embeddings(source, target, [words])
        found = embedded.words.fitted
        np.testing.assert_array_equal(found.source_rows, rows_of("WordPiece", some))
        np.testing.assert_array_equal(
            found.target_rows, rows_of("byte-level BPE", some)
        )


def test_rows_cannot_be_found_by_their_text(model_of, prompt):
    source, target = pair(model_of, "SentencePiece", "WordPiece")
    with pytest.raises(RecyclingError, match="only rows of one. Give a word list"):
        recycle_prompt(source, target, prompt, words=Words.from_rows(range(100)))


# Too few words


@pytest.mark.parametrize(
    ("known", "others", "stops"),
    [(1999, 0, True), (2000, 0, False), (2000, 2000, False), (2000, 2001, True)],
)
def test_fewer_than_two_thousand_or_half_stop(
    model_of, tmp_path, prompt, caplog, known, others, stops
):
    source, target = pair(model_of, "byte-level BPE", "Unigram")
    asked = [*WORDS[:known], *(f"foreign{i}" for i in range(others))]
    path = tmp_path / "words.json"
    path.write_text(json.dumps({str(i): word for i, word in enumerate(asked)}))

    def recycled(**how):
        words = Words.from_list(path, num_words=None, word_offset=0, **how)
        return recycle_prompt(source, target, prompt, words=words).record

    if stops:
        message = f"only {known} of the {known + others} words asked for are one piece"
        with pytest.raises(RecyclingError, match=message) as error:
            recycled()
        assert "--allow_few_words" in str(error.value)
        assert "ALLOW_FEW_WORDS = True" in str(error.value)
        record = recycled(allow_few=True)
        assert message in record["warnings"][0]
        assert message in caplog.text
        assert f"Warning         {message}" in record_text(record)
    else:
        record = recycled()
        assert record["warnings"] == []
    assert record["words"]["found"] == known
    assert record["words"]["asked"] == known + others


def test_auto_takes_all_words_where_too_few_are_found(model_of, tmp_path):
    asked = [*WORDS[:2200], *(f"foreign{i}" for i in range(1900)), *WORDS[2200:]]
    path = tmp_path / "words.json"
    path.write_text(json.dumps({str(i): word for i, word in enumerate(asked)}))
    words = Words.from_list(path, num_words="auto", word_offset=0)
    target, _ = model_of("WordPiece", 3)
    for width, asked_for, found in ((1050, 4000, 2200), (1150, 4400, 2500)):
        source, _ = model_of("SentencePiece", width, 3000)
        (embedded,) = read_embeddings(source, target, [words])
        assert embedded.words.origin["asked"] == asked_for
        assert embedded.words.origin["found"] == found
        assert len(embedded.words.fitted) == found


@pytest.mark.parametrize("stops", [False, True])
def test_rare_words_that_auto_adds_need_not_be_found(model_of, tmp_path, stops):
    """The first 4000 count, of which 2100 or 1900 are found."""
    known = 1900 if stops else 2100
    asked = [*WORDS[:known], *(f"foreign{i}" for i in range(6000))]
    path = tmp_path / "words.json"
    path.write_text(json.dumps({str(i): word for i, word in enumerate(asked)}))
    words = Words.from_list(path, num_words="auto", word_offset=0)
    source, _ = model_of("SentencePiece", 1100, 3000)
    target, _ = model_of("WordPiece", 3)
    if stops:
        with pytest.raises(RecyclingError, match="only 1900 of the 7900"):
            read_embeddings(source, target, [words])
        return
    (embedded,) = read_embeddings(source, target, [words])
    assert embedded.words.origin["asked"] == 8100
    assert embedded.words.origin["found"] == 2100
    assert embedded.words.warnings == ()


# Whether two models have one vocabulary


@pytest.mark.parametrize("kind", MARKED)
def test_models_of_one_vocabulary_give_the_bits_they_gave(
    model_of, vocabulary_files, rows_of, tmp_path, prompt, kind
):
    """By their rows, however the list spells the words."""
    rows = rows_of(kind, WORDS[:1500])
    path = tmp_path / "words.json"
    path.write_text(json.dumps({str(row): f"w{row}" for row in rows}))
    words = Words.from_list(path, num_words=1000, word_offset=0)
    size = ROWS.get(kind, 6000)
    (source, one), (target, other) = (model_of(kind, dim, size) for dim in (7, 9))
    expected = recycle_prompt(one, other, prompt, words=words)
    found = recycle_prompt(source, target, prompt, words=words)
    np.testing.assert_array_equal(found.array, expected.array)
    for key in ("residual", "nearest_pieces", "fit", "warnings"):
        assert found.record[key] == expected.record[key]
    assert "asked" not in found.record["words"]
    vocabulary = found.record["words"]["source_vocabulary"]
    assert vocabulary == Vocabulary(vocabulary_files[kind]).origin


def test_the_packages_list_is_used_by_its_rows_in_its_own_vocabulary(
    shared_data, rng, prompt
):
    file = shared_data / "t5_vocab.model"
    tables = [rng.normal(size=(32_128, dim)).astype(np.float32) for dim in (7, 9)]
    models = [open_model(table, vocabulary=file) for table in tables]
    expected = recycle_prompt(*tables, prompt)
    found = recycle_prompt(*models, prompt)
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.record["words"]["fitted"] == 4000
    assert "asked" not in found.record["words"]


def test_the_packages_list_is_found_by_text_in_one_other_vocabulary(rng, tmp_path):
    """Such as between two GPT-2s: T5's rows would be other pieces there."""
    listed = [piece for piece in Words.from_list().fitted.pieces if piece]
    file = train_tokenizer(tmp_path / "t.json", "byte-level BPE", listed * 2, 20_000)
    rows = len(Vocabulary(file).pieces)
    source, target = (
        open_model(rng.normal(size=(rows, 3)).astype(np.float32), vocabulary=file)
        for _ in range(2)
    )
    tuned = rng.normal(size=(2, 3)).astype(np.float32)
    record = recycle_prompt(source, target, tuned).record
    assert record["words"]["found"] == len(set(listed))
    assert record["nearest_pieces"] is not None
    assert record["warnings"] == []


def test_tables_of_any_padding_are_of_one_vocabulary_if_it_is_known(model_of, prompt):
    words = Words.from_rows(range(100))
    (_, one), (_, other) = tables = [model_of("WordPiece", dim, 5500) for dim in (7, 9)]
    padded = np.concatenate([other, np.zeros((500, 9), np.float32)])
    source = tables[0][0]
    target = open_model(padded, vocabulary=source.vocabulary_file)
    found = recycle_prompt(source, target, prompt, words=words)
    expected = recycle_prompt(one, other, prompt, words=words)
    np.testing.assert_array_equal(found.array, expected.array)


@pytest.mark.parametrize("known", ["source", "target"])
def test_one_vocabulary_is_known_and_the_sizes_differ(model_of, words, prompt, known):
    other = {"source": "target", "target": "source"}[known]
    source, _ = model_of("WordPiece", 7, vocabulary=known == "source")
    target, _ = model_of("SentencePiece", 9, 3000, vocabulary=known == "target")
    with pytest.raises(RecyclingError, match="so their vocabularies differ") as error:
        recycle_prompt(source, target, prompt, words=words)
    assert f"no vocabulary beside the {other}" in str(error.value)
    assert f"--{other}_vocabulary, {other.upper()}_VOCABULARY" in str(error.value)


def test_no_vocabulary_is_known_and_the_sizes_differ(model_of, words, prompt):
    source, _ = model_of("WordPiece", 7, vocabulary=False)
    target, _ = model_of("SentencePiece", 9, 3000, vocabulary=False)
    with pytest.raises(RecyclingError, match="vocabularies of both") as error:
        recycle_prompt(source, target, prompt, words=words)
    assert "--source_vocabulary" in str(error.value)
    assert "TARGET_VOCABULARY" in str(error.value)


@pytest.mark.parametrize("known", ["source", "target"])
def test_one_vocabulary_is_known_and_the_sizes_agree(model_of, prompt, known):
    rows = Words.from_rows(range(100))
    (source, one), (target, other) = (
        model_of("WordPiece", dim, vocabulary=role == known)
        for dim, role in ((7, "source"), (9, "target"))
    )
    found = recycle_prompt(source, target, prompt, words=rows)
    expected = recycle_prompt(one, other, prompt, words=rows)
    np.testing.assert_array_equal(found.array, expected.array)


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_vocabulary_of_another_model(model_of, words, prompt, role):
    def models(rows):
        return (
            model_of("WordPiece", 7, rows if role == "source" else 6000)[0],
            model_of("byte-level BPE", 9, rows if role == "target" else 6000)[0],
        )

    message = f"the {role} model .* has {{}} embeddings, but the vocabulary .*tokeni"
    with pytest.raises(RecyclingError, match=message.format(5000)) as error:
        recycle_prompt(*models(5000), prompt, words=words)
    assert f"--{role}_vocabulary" in str(error.value)
    # Rows that nothing uses may be many.
    record = recycle_prompt(*models(9000), prompt, words=words).record
    assert re.match(message.format(9000), record["warnings"][0])
    assert record["words"]["found"] == 2300


def test_two_models_beside_one_file_that_cannot_be_both(model_of, words, prompt):
    source, _ = model_of("WordPiece", 7)
    target, _ = model_of("WordPiece", 9, 9000)
    with pytest.raises(RecyclingError, match="the target model .* has 9000 embeddings"):
        recycle_prompt(source, target, prompt, words=words)


def test_vocabularies_beside_the_models(
    tmp_path, vocabulary_files, model_of, write_orbax, words, prompt
):
    paths = []
    for kind, dim in (("SentencePiece", 7), ("WordPiece", 9)):
        _, table = model_of(kind, dim, ROWS.get(kind, 6000))
        step = write_orbax(tmp_path / kind / "checkpoint_1", {EMBEDDING: table})
        shutil.copy(vocabulary_files[kind], step.parent)
        paths.append(step.parent)
    found = recycle_prompt(*paths, prompt, words=words)
    expected = recycle_prompt(*pair(model_of, *PAIRS[1]), prompt, words=words)
    np.testing.assert_array_equal(found.array, expected.array)
    (paths[0] / "spiece.model").write_bytes(b"damaged")
    with pytest.raises(RecyclingError, match="cannot read the vocabulary .*spiece"):
        recycle_prompt(*paths, prompt, words=words)
