import numpy as np
import pytest

from prompt_tuning_recycling import Words, recycle_prompt, recyclers
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.records.recorder import Recorder
from prompt_tuning_recycling.records.text import record_text
from prompt_tuning_recycling.words import read_embeddings


def pursue(vector, source, k):
    """Orthogonal matching pursuit of one vector, as its definition reads."""
    directions = source / np.linalg.norm(source, axis=1, keepdims=True)
    chosen, unexplained = [], vector
    for _ in range(k):
        chosen.append(int(np.argmax(np.abs(directions @ unexplained))))
        coefficients = np.linalg.lstsq(source[chosen].T, vector, rcond=None)[0]
        unexplained = vector - coefficients @ source[chosen]
    return dict(zip(chosen, coefficients, strict=True))


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_it_is_orthogonal_matching_pursuit(rng, k):
    source = rng.normal(size=(50, 8)) * rng.uniform(0.2, 5, size=(50, 1))
    target, prompt = rng.normal(size=(50, 5)), rng.normal(size=(6, 8))
    fitted = recyclers.Sparse(k=k).fit(source, target).map
    expected = [pursue(vector, source, k) for vector in prompt]
    found = [dict(of_vector) for of_vector in fitted.combination(prompt)]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other)
    mapped = [sum(c * target[i] for i, c in one.items()) for one in expected]
    np.testing.assert_allclose(fitted.apply(prompt), mapped, rtol=1e-5, atol=1e-6)


def test_what_few_words_make_is_written_in_them(rng):
    source, target = rng.normal(size=(50, 30)), rng.normal(size=(50, 5))
    prompt = np.stack([source[7], -3 * source[9], 0 * source[0]])
    fitted = recyclers.Sparse().fit(source, target).map
    first, second, nothing = fitted.combination(prompt)
    assert first == [(7, pytest.approx(1))]
    assert second == [(9, pytest.approx(-3))]
    assert nothing == []
    np.testing.assert_allclose(
        fitted.apply(prompt), [target[7], -3 * target[9], 0 * target[0]], rtol=1e-6
    )


def test_it_stops_where_no_word_explains_more(rng):
    """Three dimensions, of which the words have two."""
    source = np.zeros((30, 3))
    source[:, :2] = rng.normal(size=(30, 2))
    fitted = recyclers.Sparse(k=10).fit(source, rng.normal(size=(30, 4))).map
    (words,) = fitted.combination(rng.normal(size=(1, 3)))
    assert len(words) == 2


def test_where_no_word_helps_there_is_none(rng):
    """All words lie across the vector."""
    source = np.zeros((30, 3))
    source[:, 0] = rng.normal(size=30)
    fitted = recyclers.Sparse().fit(source, rng.normal(size=(30, 4))).map
    assert fitted.combination(np.array([[0.0, 1, 0], [0, 0, 0]])) == [[], []]
    assert not fitted.apply(np.array([[0.0, 1, 0], [0, 0, 0]])).any()


def test_a_fitted_word_is_itself(rng):
    source, target = rng.normal(size=(300, 8)), rng.normal(size=(300, 5))
    assert recyclers.Sparse().fit(source, target).residual < 1e-6


@pytest.fixture
def recorded(source_table, target_table, prompt, word_list):
    """The record of a prompt that was written in words, with the words' rows."""
    words = Words.from_list(word_list, num_words=200, word_offset=10)
    source, target = (open_model(t) for t in (source_table, target_table))
    (embedded,) = read_embeddings(source, target, [words])
    sparse = recyclers.Sparse()
    fit = sparse.fit(*embedded.fitted)
    recorder = Recorder(embedded)
    recycled = fit.map.apply(prompt)
    record = recorder.of_prompt(
        recorder.of_fit(sparse, fit), prompt, {}, recycled, fit.map
    )
    return record, recycled


def test_the_record_names_words_and_coefficients(recorded, target_table):
    record, recycled = recorded
    assert len(record["combination"]) == len(recycled)
    for vector, of_vector in zip(recycled, record["combination"], strict=True):
        assert len(of_vector) == 4
        made = sum(w["coefficient"] * target_table[w["row"]] for w in of_vector)
        np.testing.assert_allclose(made, vector, rtol=1e-4, atol=1e-5)
        for word in of_vector:
            assert word["piece"] == f"▁word{word['row'] - 3}"


def test_the_report_shows_them(recorded):
    text = record_text(recorded[0])
    assert "Written in words of the source, with coefficients" in text
    first = recorded[0]["combination"][0][0]
    assert f"{first['coefficient']:+.3g} {first['piece']}" in text


def test_other_recyclers_name_none(source_table, target_table, prompt):
    recycled = recycle_prompt(
        source_table, target_table, prompt, words=Words.from_rows(range(50))
    )
    assert "combination" not in recycled.record
    assert recycled.fit.map.combination(prompt) is None
