"""`recycle_prompt` is a pure function; its report says how it went."""

import json

import numpy as np
import pytest

from prompt_tuning_recycling import (
    Prompt,
    RecyclingError,
    Words,
    open_model,
    recycle_prompt,
    recyclers,
)
from prompt_tuning_recycling.models.floats import digest
from prompt_tuning_recycling.records import text as record_texts
from prompt_tuning_recycling.recycling import mean_prompt

EMBEDDING = "target/token_embedder/embedding"
PROMPT = "target/encoder/prompt/prompt/prompt"


@pytest.fixture
def words(word_list):
    return Words.from_list(word_list, num_words=200, word_offset=10)


@pytest.fixture
def expected(source_table, target_table, prompt, words):
    source, target = (
        source_table[words.fitted.source_rows],
        target_table[words.fitted.source_rows],
    )
    fitted = recyclers.VocabToVocabLinear().fit(source, target).map
    return fitted.apply(prompt)


def test_from_arrays(source_table, target_table, prompt, words, expected):
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    np.testing.assert_array_equal(recycled.array, expected)
    np.testing.assert_array_equal(recycled.fit.map.apply(prompt), expected)


def test_from_a_checkpoint_of_any_format(
    tmp_path, write_any, source_table, target_table, prompt, words, expected
):
    arrays = {EMBEDDING: source_table, PROMPT: prompt}
    source = write_any(tmp_path / "source" / "checkpoint_1", arrays)
    target = write_any(tmp_path / "target" / "checkpoint_1", {EMBEDDING: target_table})
    recycled = recycle_prompt(source, open_model(target), words=words)
    np.testing.assert_array_equal(recycled.array, expected)


def test_the_prompt_is_in_the_source_unless_given(
    tmp_path, write_orbax, source_table, target_table, prompt, words
):
    arrays = {EMBEDDING: source_table, PROMPT: prompt}
    source = write_orbax(tmp_path / "checkpoint_1", arrays)
    inside = recycle_prompt(source, target_table, words=words)
    given = recycle_prompt(source, target_table, prompt, words=words)
    np.testing.assert_array_equal(inside.array, given.array)


def test_to_itself_is_the_identity(source_table, prompt, words):
    recycled = recycle_prompt(source_table, source_table, prompt, words=words)
    np.testing.assert_array_equal(recycled.array, prompt)
    assert recycled.record["residual"]["held_out_words"] < 1e-6


@pytest.mark.parametrize("recycler", recyclers.names())
def test_the_report_of_every_recycler(
    source_table, target_table, prompt, words, recycler
):
    target = source_table + 0.1 if recycler == "copy" else target_table
    recycled = recycle_prompt(
        source_table, target, prompt, words=words, recycler=recycler
    )
    report = json.loads(json.dumps(recycled.record, allow_nan=False))
    assert report["recycler"]["name"] == recycler
    assert report["words"]["fitted"] == 200
    assert report["words"]["held_out"] == 100
    assert report["prompt"]["shape"] == [5, 12]
    assert report["recycled"]["shape"] == [5, target.shape[1]]
    assert len(report["nearest_pieces"]) == 5
    assert report["warnings"] == []


def test_residuals_and_norms_are_what_they_say(
    source_table, target_table, prompt, words
):
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    for which, rows in (
        ("fitted_words", words.fitted.source_rows),
        ("held_out_words", words.held_out.source_rows),
    ):
        error = recycled.fit.map.apply(source_table[rows]) - target_table[rows]
        expected = np.linalg.norm(error) / np.linalg.norm(target_table[rows])
        assert recycled.record["residual"][which] == pytest.approx(expected, rel=1e-5)
    lengths = np.linalg.norm(recycled.array, axis=1)
    norms = recycled.record["row_norms"]["recycled_prompt"]
    assert norms["max"] == pytest.approx(lengths.max())
    assert norms["median"] == pytest.approx(np.median(lengths))


def test_a_map_that_is_far_off_on_other_words_says_so(rng, prompt):
    source, target = (rng.normal(size=(384, d)) for d in (12, 20))
    few = Words.from_rows(range(12), range(100, 200))
    recycled = recycle_prompt(source, target, prompt, words=few)
    assert recycled.record["residual"]["held_out_words"] > 1.5
    assert "the map is far off" in recycled.record["warnings"][-1]


def test_a_residual_near_one_is_no_reason_to_warn(rng, prompt, words):
    source, target = (rng.normal(size=(384, d)) for d in (12, 20))
    recycled = recycle_prompt(source, target, prompt, words=words)
    assert recycled.record["residual"]["held_out_words"] > 1
    assert not recycled.record["warnings"]


def test_nearest_pieces_are_the_words_a_prompt_is_made_of(
    source_table, target_table, words
):
    made_of = words.fitted.source_rows[[3, 50]]
    recycled = recycle_prompt(
        source_table, target_table, 5 * source_table[made_of], words=words
    )
    nearest = recycled.record["nearest_pieces"]
    assert [pieces[0]["piece"] for pieces in nearest] == ["▁word13", "▁word60"]


def test_rows_without_pieces_have_no_nearest(source_table, target_table, prompt):
    words = Words.from_rows(range(100))
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    assert recycled.record["nearest_pieces"] is None
    assert recycled.record["residual"]["held_out_words"] is None


@pytest.mark.parametrize(
    ("rows", "fits"), [(32_128, True), (32_000, True), (20_000, False), (40_000, False)]
)
def test_words_of_another_vocabulary(rng, caplog, rows, fits):
    source, target = (rng.normal(size=(rows, d)).astype(np.float32) for d in (4, 5))
    prompt = rng.normal(size=(2, 4)).astype(np.float32)
    report = recycle_prompt(source, target, prompt, words=Words.from_list()).record
    found = [w for w in report["warnings"] if "of another vocabulary" in w]
    assert bool(found) != fits
    assert ("of another vocabulary" in caplog.text) != fits
    assert ("of another vocabulary" in record_texts.record_text(report)) != fits
    assert (report["nearest_pieces"] is not None) == fits
    assert ("Nearest words" in record_texts.record_text(report)) == fits


def test_held_out_words_beyond_the_vocabulary_are_left_out(
    source_table, target_table, prompt
):
    words = Words.from_rows(range(100), held_out=[383, 384, 9999])
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    assert recycled.record["words"]["held_out"] == 1


def test_held_out_words_that_are_not_finite_are_left_out(
    source_table, target_table, prompt
):
    source_table[200], target_table[201] = np.nan, np.inf
    words = Words.from_rows(range(100), held_out=[200, 201, 202])
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    assert recycled.record["words"]["held_out"] == 1
    json.dumps(recycled.record, allow_nan=False)


def test_is_saved_with_its_report(tmp_path, source_table, target_table, prompt, words):
    recycled = recycle_prompt(source_table, target_table, prompt, words=words)
    recycled.save(tmp_path / "p")
    with (tmp_path / "p").open("rb") as file:
        np.testing.assert_array_equal(np.load(file), recycled.array)
    record = json.loads((tmp_path / "p.json").read_text())
    assert record["source"]["fingerprint"] == recycled.record["source"]["fingerprint"]


def test_vocabularies_of_different_padding_are_one(source_table, target_table, prompt):
    words = Words.from_rows(range(100))
    unpadded = target_table[:300]
    with_padding = recycle_prompt(source_table, target_table, prompt, words=words)
    without = recycle_prompt(source_table[:380], unpadded, prompt, words=words)
    np.testing.assert_array_equal(with_padding.array, without.array)


def test_other_vocabularies_are_refused(source_table, target_table, prompt):
    words = Words.from_rows(range(100))
    with pytest.raises(RecyclingError, match=r"384 embeddings .* 200, so their vocab"):
        recycle_prompt(source_table, target_table[:200], prompt, words=words)


def test_a_prompt_of_another_model(source_table, target_table, words, rng):
    prompt = rng.normal(size=(100, 13))
    message = r"width 13 \(shape \[100, 13\]\).*embeddings of width 12"
    with pytest.raises(RecyclingError, match=message):
        recycle_prompt(source_table, target_table, prompt, words=words)


def test_an_embedding_that_is_no_table(source_table, target_table, prompt, words):
    with pytest.raises(RecyclingError, match="expected .* to be a table"):
        recycle_prompt(source_table[0], target_table, prompt, words=words)


# Several source models


@pytest.fixture
def other(rng):
    """Another source: its table, of another width, and its prompt."""
    table = rng.normal(size=(384, 7)).astype(np.float32)
    return table, rng.normal(size=(5, 7)).astype(np.float32)


def test_of_several_sources_it_is_the_mean(
    source_table, target_table, prompt, words, other
):
    sources, prompts = [source_table, other[0]], [prompt, other[1]]
    recycled = recycle_prompt(sources, target_table, prompts, words=words)
    alone = [
        recycle_prompt(one, target_table, its_prompt, words=words)
        for one, its_prompt in zip(sources, prompts, strict=True)
    ]
    expected = np.mean([one.array.astype(np.float64) for one in alone], axis=0)
    np.testing.assert_array_equal(recycled.array, expected.astype(np.float32))
    assert recycled.fit is None
    assert recycled.site == "encoder"


def test_the_record_of_a_mean_holds_those_of_its_parts(
    source_table, target_table, prompt, words, other
):
    sources, prompts = (source_table, other[0]), (prompt, other[1])
    recycled = recycle_prompt(sources, target_table, prompts, words=words)
    record = json.loads(json.dumps(recycled.record))
    assert list(record) == ["format", "mean_of", "row_norms", "recycled", "versions"]
    for part, one, its_prompt in zip(record["mean_of"], sources, prompts, strict=True):
        alone = recycle_prompt(one, target_table, its_prompt, words=words).record
        for untimed in (part, alone):
            assert untimed.pop("seconds")
        assert part == json.loads(json.dumps(alone))
    assert record["recycled"]["sha256"] == digest(recycled.array)
    text = record_texts.record_text(record)
    assert text.startswith("Mean of 2 recycled prompts")
    assert text.count("Nearest words") == 2


def test_a_list_of_one_source_is_that_source(
    source_table, target_table, prompt, words, expected
):
    for listed in ([source_table], (source_table,)):
        recycled = recycle_prompt(listed, target_table, prompt, words=words)
        np.testing.assert_array_equal(recycled.array, expected)
        assert "mean_of" not in recycled.record
        assert recycled.fit is not None


def test_each_of_several_sources_may_hold_its_prompt(
    tmp_path, write_orbax, source_table, target_table, prompt, words, other
):
    sources = [
        write_orbax(tmp_path / name / "checkpoint_1", {EMBEDDING: table, PROMPT: tuned})
        for name, (table, tuned) in {"a": (source_table, prompt), "b": other}.items()
    ]
    inside = recycle_prompt(sources, target_table, words=words)
    given = recycle_prompt(
        [source_table, other[0]], target_table, [prompt, other[1]], words=words
    )
    np.testing.assert_array_equal(inside.array, given.array)


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_prompts_as_sources(source_table, target_table, prompt, words, count):
    message = f"found 2 source models and {count} prompts"
    with pytest.raises(RecyclingError, match=message):
        recycle_prompt([source_table] * 2, target_table, [prompt] * count, words=words)


def test_no_source_at_all(target_table):
    with pytest.raises(RecyclingError, match="found an empty list"):
        recycle_prompt([], target_table)


def test_prompts_of_several_lengths_are_reported_before_anything_is_fitted(
    tmp_path, source_table, target_table, prompt, words, caplog
):
    caplog.set_level("INFO")
    paths = []
    for name, array in (("five.npy", prompt), ("three.npy", prompt[:3])):
        np.save(tmp_path / name, array)
        paths.append(tmp_path / name)
    with pytest.raises(RecyclingError) as error:
        recycle_prompt([source_table] * 2, target_table, paths, words=words)
    assert f"{paths[0]} has shape [5, 12]" in str(error.value)
    assert f"{paths[1]} has shape [3, 12]" in str(error.value)
    assert "fitting" not in caplog.text


def test_one_of_several_sources_is_not_there(
    tmp_path, source_table, target_table, prompt, words
):
    gone = tmp_path / "gone"
    with pytest.raises(RecyclingError, match=f"{gone} does not exist"):
        recycle_prompt([source_table, gone], target_table, [prompt] * 2, words=words)


@pytest.mark.parametrize("site", ["encoder", "decoder"])
def test_prompts_of_another_shape_or_site_have_no_mean(prompt, site):
    with pytest.raises(RecyclingError, match=f"\\[5, 12\\] at encoder, .* at {site}"):
        other = prompt if site == "decoder" else prompt[:3]
        mean_prompt([Prompt(prompt), Prompt(other, site)])
