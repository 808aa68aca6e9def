"""Rank-deficient and ill-conditioned systems are solved with care, and say so."""

import logging
import re

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers
from prompt_tuning_recycling.recyclers import normal_equations
from prompt_tuning_recycling.recyclers.pseudo_inverse import pseudo_inverse
from prompt_tuning_recycling.words import WordEmbeddings


@pytest.fixture(params=["v2v-lin", "lin-comb"])
def linear(request):
    return request.param


def test_a_regular_system_has_no_warnings(source_table, target_table, linear):
    fitted = recyclers.make(linear).fit(source_table, target_table)
    fit = fitted.diagnostics
    assert fit["rank"] == 12
    assert not fit["minimum_norm"]
    assert not fitted.warnings
    singular = np.linalg.svd(source_table.astype(np.float64), compute_uv=False)
    assert fit["condition_number"] == pytest.approx(singular[0] / singular[-1])


def test_fewer_words_than_dimensions_is_minimum_norm(
    source_table, target_table, linear, caplog
):
    source, target = source_table[:8], target_table[:8]
    with caplog.at_level(logging.WARNING):
        fitted = recyclers.make(linear).fit(source, target)
    assert fitted.diagnostics["minimum_norm"]
    assert "8 words determine only part of a map from 12" in caplog.text
    np.testing.assert_allclose(fitted.map.apply(source), target, rtol=1e-5, atol=1e-5)
    outside = np.linalg.svd(source)[2][8:]
    np.testing.assert_allclose(fitted.map.apply(outside), 0, atol=1e-5)


def test_embeddings_of_lower_rank_are_minimum_norm(target_table, rng, linear):
    source = rng.normal(size=(384, 5)) @ rng.normal(size=(5, 12))
    fitted = recyclers.make(linear).fit(source, target_table)
    assert fitted.diagnostics["rank"] == 5
    assert "rank 5 where 12 was possible" in fitted.warnings[0]
    expected = source @ (np.linalg.pinv(source, rcond=1e-10) @ target_table)
    np.testing.assert_allclose(fitted.map.apply(source), expected, rtol=1e-4, atol=1e-4)


def conditioned(rng, condition, dtype=np.float64, shape=(384, 12)):
    """A table of that condition number, but for the dtype's rounding."""
    u, s, vt = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    s = np.geomspace(1, 1 / condition, min(shape))
    return ((u * s) @ vt).astype(dtype)


def test_an_ill_conditioned_system_is_never_silent(
    source_table, target_table, prompt, linear
):
    """Two dimensions of the source that differ only by float32's rounding."""
    source = source_table.astype(np.float64)
    source[:, 1] = source[:, 0] * (1 + 1e-9 * np.arange(384))
    fitted = recyclers.make(linear).fit(source, target_table)
    assert "ill-conditioned" in fitted.warnings[0]
    careful = recyclers.make(linear, rcond=1e-6).fit(source, target_table)
    assert careful.diagnostics["rank"] == 11
    blown_up = np.abs(fitted.map.apply(prompt)).max()
    assert np.abs(careful.map.apply(prompt)).max() < blown_up / 1000


RESOLVES = {
    np.float16: 2**10,
    ml_dtypes.bfloat16: 2**7,
    np.float32: 2**23,
}


@pytest.mark.parametrize("source", [*RESOLVES, np.float64])
@pytest.mark.parametrize("target", RESOLVES)
def test_ill_conditioned_is_what_the_coarser_tables_dtype_does_not_resolve(
    rng, target_table, linear, source, target
):
    coarser = min(source, target, key=lambda dtype: RESOLVES.get(dtype, np.inf))
    resolved = RESOLVES[coarser]
    fits = {
        share: recyclers.make(linear).fit(
            conditioned(rng, share * resolved, source), target_table.astype(target)
        )
        for share in (0.2, 5)
    }
    assert not fits[0.2].warnings
    (warning,) = fits[5].warnings
    assert f"that {np.dtype(coarser).name} resolves" in warning


def test_float64_resolves_what_float32_does_not(rng, target_table, linear):
    source, target = conditioned(rng, 1e10), target_table.astype(np.float64)
    fitted = recyclers.make(linear).fit(source, target)
    fit = fitted.diagnostics
    assert fit["condition_number"] == pytest.approx(1e10, rel=1e-3)
    assert not fitted.warnings


@pytest.mark.parametrize("dtype", RESOLVES)
def test_the_rcond_that_the_warning_names_ends_it(rng, target_table, linear, dtype):
    source = conditioned(rng, 20 * RESOLVES[dtype], dtype)
    target = target_table.astype(dtype)
    (warning,) = recyclers.make(linear).fit(source, target).warnings
    rcond = float(re.search(r"Set rcond to (\S+), for example", warning)[1])
    careful = recyclers.make(linear, rcond=rcond).fit(source, target)
    assert not any("ill-conditioned" in warning for warning in careful.warnings)
    assert careful.diagnostics["rank"] < 12


def test_a_deliberate_rcond_is_not_a_lower_rank_of_the_words(
    rng, target_table, linear, caplog
):
    source = conditioned(rng, 1e3)
    fitted = recyclers.make(linear, rcond=1e-2).fit(source, target_table)
    kept = int(np.sum(np.geomspace(1, 1e-3, 12) > 1e-2))
    assert fitted.diagnostics["rank"] == kept < 12
    (warning,) = fitted.warnings
    assert f"rcond=0.01 leaves out {12 - kept} of the 12 directions" in warning
    assert "was possible" not in caplog.text


def test_a_deliberate_rcond_on_words_of_lower_rank(rng, target_table, linear):
    source = conditioned(rng, 1e3)
    source[:, 8:] = 0
    fitted = recyclers.make(linear, rcond=1e-2).fit(source, target_table)
    lower, left_out = fitted.warnings
    assert "rank 8 where 12 was possible" in lower
    assert (
        f"leaves out {8 - fitted.diagnostics['rank']} of the 8 directions" in left_out
    )


def test_an_rcond_that_keeps_rounding_says_so(rng, target_table, linear):
    source = rng.normal(size=(384, 5)) @ rng.normal(size=(5, 12))
    fitted = recyclers.make(linear, rcond=0).fit(source, target_table)
    lower, ill = fitted.warnings
    more = fitted.diagnostics["rank"] - 5
    assert more > 0
    assert f"rank 5 where 12 was possible; rcond=0 keeps {more} directions" in lower
    assert "ill-conditioned" in ill


@pytest.mark.parametrize("rcond", [-1e-9, 1, 2, float("nan")])
def test_rcond_is_a_share(linear, rcond):
    with pytest.raises(RecyclingError, match="expected rcond"):
        recyclers.make(linear, rcond=rcond)


def inverses(array, ridge):
    """S⁺ by both methods."""
    words = WordEmbeddings.checked(array, "source")
    factored = normal_equations.factor(words, ridge)
    assert factored is not None
    return factored, pseudo_inverse(words, ridge=ridge)


@pytest.mark.parametrize("ridge", [0.0, 2.5])
@pytest.mark.parametrize("shape", [(384, 12), (8, 12), (12, 12)])
def test_both_methods_give_the_inverse_of_the_textbook(rng, shape, ridge):
    source, target = rng.normal(size=shape), rng.normal(size=(shape[0], 5))
    vectors = rng.normal(size=(3, shape[1]))
    stacked = np.vstack([source, np.sqrt(ridge) * np.eye(shape[1])])
    expected = np.linalg.pinv(stacked)[:, : shape[0]]
    for inverse in inverses(source, ridge):
        assert inverse.shape == shape
        np.testing.assert_allclose(inverse.dense(), expected, atol=1e-11)
        np.testing.assert_allclose(
            inverse.coefficients(vectors), vectors @ expected, atol=1e-11
        )
        np.testing.assert_allclose(inverse.solve(target), expected @ target, atol=1e-11)


@pytest.mark.parametrize("condition", [100, 1000])
@pytest.mark.parametrize("shape", [(400, 300), (300, 400)])
def test_normal_equations_agree_with_singular_values(rng, shape, condition):
    source = conditioned(rng, condition, shape=shape)
    target = rng.normal(size=(shape[0], 50))
    factored, exact = inverses(source, 0.0)
    expected = exact.solve(target)
    error = np.linalg.norm(factored.solve(target) - expected)
    assert error < 1e-12 * np.linalg.norm(expected)
    vectors = rng.normal(size=(20, shape[1]))
    expected = exact.coefficients(vectors)
    error = np.linalg.norm(factored.coefficients(vectors) - expected)
    assert error < 1e-12 * np.linalg.norm(expected)
    rough = factored.coefficients(vectors, refine=False)
    assert np.linalg.norm(rough - expected) < 1e-7 * np.linalg.norm(expected)


@pytest.mark.parametrize("condition", [1.5, 30, 3000])
@pytest.mark.parametrize("size", [12, 400])
def test_the_condition_number_is_right_to_three_digits(rng, size, condition):
    source = conditioned(rng, condition, shape=(2 * size, size))
    factored, exact = inverses(source, 0.0)
    assert factored.condition_number == pytest.approx(condition, rel=1e-3)
    assert exact.condition_number == pytest.approx(condition, rel=1e-6)


def test_the_condition_number_of_random_words_is_right_to_three_digits(rng):
    """Their largest singular values lie close together."""
    source = rng.normal(size=(900, 600))
    factored, exact = inverses(source, 0.0)
    expected = exact.condition_number
    assert factored.condition_number == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (384, 12)])
@pytest.mark.parametrize("condition", [1e5, 1e7, 1e12])
def test_normal_equations_refuse_what_they_cannot_solve(rng, shape, condition):
    source = conditioned(rng, condition, shape=shape)
    words = WordEmbeddings.checked(source, "source")
    assert normal_equations.factor(words) is None
    fitted = recyclers.make("v2v-lin").fit(source, rng.normal(size=(shape[0], 3)))
    assert fitted.diagnostics["condition_number"] == pytest.approx(condition, rel=1e-2)
    assert fitted.diagnostics["rank"] == min(shape)


def test_normal_equations_refuse_words_of_lower_rank(rng):
    source = rng.normal(size=(384, 5)) @ rng.normal(size=(5, 12))
    assert normal_equations.factor(WordEmbeddings.checked(source, "source")) is None


@pytest.mark.parametrize("words", [8, 12, 300])
@pytest.mark.parametrize("ridge", [None, 0.1])
def test_the_residual_that_the_fit_knows_is_the_measured_one(
    source_table, target_table, linear, words, ridge
):
    source, target = (
        table[:words].astype(np.float64) for table in (source_table, target_table)
    )
    fitted = recyclers.make(linear, ridge=ridge).fit(source, target)
    measured = np.linalg.norm(fitted.map.apply(source) - target)
    measured /= np.linalg.norm(target)
    assert fitted.residual == pytest.approx(measured, rel=1e-5, abs=1e-6)


def test_linear_recyclers_share_one_decomposition(
    source_table, target_table, prompt, monkeypatch
):
    factored = []
    factor = normal_equations.factor

    def counting(*arguments):
        factored.append(arguments)
        return factor(*arguments)

    monkeypatch.setattr(normal_equations, "factor", counting)
    apart = recyclers.make("lin-comb").fit(source_table, target_table)
    assert len(factored) == 1
    source = WordEmbeddings.checked(source_table, "source")
    target = WordEmbeddings.checked(target_table, "target")
    recyclers.make("v2v-lin").fit(source, target)
    recyclers.make("lin-comb", rcond=0.5).fit(source, target)
    shared = recyclers.make("lin-comb").fit(source, target)
    assert len(factored) == 2
    np.testing.assert_array_equal(shared.map.apply(prompt), apart.map.apply(prompt))


@pytest.mark.parametrize(
    ("words", "near"),
    [(6, False), (7, True), (12, True), (23, True), (24, False), (384, False)],
)
def test_a_number_of_words_near_the_width_is_warned_of_with_its_cure(
    source_table, target_table, linear, words, near
):
    tables = source_table[:words], target_table[:words]
    threshold = f"{words} words for 12 dimensions are near the interpolation threshold"
    warnings = recyclers.make(linear).fit(*tables).warnings
    found = [warning for warning in warnings if warning.startswith(threshold)]
    assert bool(found) == near
    if near:
        assert "--num_words=all, NUM_WORDS = None in gin" in found[0]
        assert "ridge='auto'" in found[0]
    with_ridge = recyclers.make(linear, ridge=0.1).fit(*tables).warnings
    assert not any("threshold" in warning for warning in with_ridge)
