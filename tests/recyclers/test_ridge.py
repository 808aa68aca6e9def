"""Ridge regression against its textbook form, and leave-one-out against leaving out."""

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers
from prompt_tuning_recycling.recyclers import ridge as ridges
from prompt_tuning_recycling.words import WordEmbeddings

SHAPES = [(40, 6), (9, 6), (6, 6), (5, 9)]


@pytest.fixture(params=["v2v-lin", "lin-comb"])
def linear(request):
    return request.param


def tables(rng, words, width):
    source = rng.normal(size=(words, width)) * np.geomspace(1, 9, width)
    target = source @ rng.normal(size=(width, 4)) + 5 * rng.normal(size=(words, 4))
    return source, target


def textbook(source, target, penalty):
    """(SᵀS + λI)⁻¹SᵀT."""
    width = source.shape[1]
    system = source.T @ source + penalty * np.eye(width)
    return np.linalg.solve(system, source.T @ target)


@pytest.mark.parametrize("ridge", [1e-9, 1e-3, 0.1, 1, 20])
@pytest.mark.parametrize(("words", "width"), SHAPES)
def test_the_map_is_the_textbooks(rng, linear, words, width, ridge):
    source, target = tables(rng, words, width)
    prompt = rng.normal(size=(3, width))
    fitted = recyclers.make(linear, ridge=ridge).fit(source, target)
    penalty = ridge * np.mean(np.diag(source @ source.T))
    expected = prompt @ textbook(source, target, penalty)
    # The textbook's form itself is accurate to the square of the condition number.
    for recycled in (fitted.map.apply(prompt), fitted.map.apply(prompt[None])[0]):
        np.testing.assert_allclose(recycled, expected, rtol=1e-5, atol=1e-5)
    assert fitted.diagnostics["ridge"] == ridge
    assert not fitted.diagnostics["minimum_norm"]
    stacked = np.vstack([source, np.sqrt(penalty) * np.eye(width)])
    # The smaller Gram matrix's condition number, where there are fewer words.
    count = min(words, width)
    singular = np.linalg.svd(stacked, compute_uv=False)[:count]
    assert fitted.diagnostics["condition_number"] == pytest.approx(
        singular[0] / singular[-1], rel=1e-6
    )


def test_words_of_lower_rank_need_no_other_cure(rng, linear):
    source = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 6))
    target, prompt = rng.normal(size=(40, 4)), rng.normal(size=(2, 6))
    penalty = 0.1 * np.mean(np.sum(source**2, axis=1))
    fitted = recyclers.make(linear, ridge=0.1).fit(source, target)
    expected = prompt @ textbook(source, target, penalty)
    np.testing.assert_allclose(fitted.map.apply(prompt), expected, rtol=1e-5, atol=1e-6)
    assert not fitted.warnings


def test_a_ridge_of_zero_is_least_squares(source_table, target_table, prompt, linear):
    plain = recyclers.make(linear).fit(source_table, target_table)
    zero = recyclers.make(linear, ridge=0).fit(source_table, target_table)
    np.testing.assert_array_equal(zero.map.apply(prompt), plain.map.apply(prompt))


def test_a_ridge_means_the_same_at_every_scale(rng, linear):
    source, target = tables(rng, 40, 6)
    prompt = rng.normal(size=(3, 6))
    one, other = (
        recyclers.make(linear, ridge=0.3)
        .fit(scale * source, target)
        .map.apply(scale * prompt)
        for scale in (1, 1000)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize(("words", "width"), SHAPES)
def test_left_out_errors_are_those_of_leaving_out(rng, words, width):
    source, target = tables(rng, words, width)
    found = ridges.left_out_residuals(
        WordEmbeddings.checked(source, "source"),
        WordEmbeddings.checked(target, "target"),
    )
    assert tuple(found) == ridges.GRID
    for ridge, residual in found.items():
        penalty = ridge * np.mean(np.sum(source**2, axis=1))
        errors = []
        for word in range(words):
            others = np.arange(words) != word
            map_ = textbook(source[others], target[others], penalty)
            errors.append(target[word] - source[word] @ map_)
        expected = np.linalg.norm(errors) / np.linalg.norm(target)
        assert residual == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("words", "width"), SHAPES)
def test_auto_takes_the_least_left_out_error(rng, linear, words, width):
    source, target = tables(rng, words, width)
    prompt = rng.normal(size=(3, width))
    found = ridges.left_out_residuals(
        WordEmbeddings.checked(source, "source"),
        WordEmbeddings.checked(target, "target"),
    )
    fitted = recyclers.make(linear, ridge="auto").fit(source, target)
    best = fitted.diagnostics["ridge"]
    assert found[best] == min(found.values())
    assert fitted.diagnostics["leave_one_out_residual"] == found[best]
    same = recyclers.make(linear, ridge=best).fit(source, target)
    np.testing.assert_array_equal(fitted.map.apply(prompt), same.map.apply(prompt))


def test_auto_generalizes_where_least_squares_does_not(rng, linear):
    """As many words as dimensions."""
    source = rng.normal(size=(120, 60))
    target = source @ rng.normal(size=(60, 50)) + 2 * rng.normal(size=(120, 50))
    plain, careful = (
        np.linalg.norm(
            recyclers.make(linear, ridge=ridge)
            .fit(source[:60], target[:60])
            .map.apply(source[60:])
            - target[60:]
        )
        / np.linalg.norm(target[60:])
        for ridge in (None, "auto")
    )
    assert careful < 0.8
    assert plain > 1.5


@pytest.mark.parametrize(
    "ridge", [-1e-9, float("nan"), float("inf"), "aut", True, [0.1], "0.1"]
)
def test_a_ridge_is_a_number_or_auto(linear, ridge):
    with pytest.raises(RecyclingError, match="expected ridge"):
        recyclers.make(linear, ridge=ridge)


@pytest.mark.parametrize("ridge", [0, 0.1, "auto"])
def test_a_ridge_and_a_cutoff_together_are_refused(linear, ridge):
    with pytest.raises(RecyclingError, match="expected rcond or ridge, found both"):
        recyclers.make(linear, rcond=1e-6, ridge=ridge)
