import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("words", "ridge"), [(60, 0.1), (60, 2.0), (5, 0.1)])
def test_its_closed_form_is_the_ridge_of_the_cosines(rng, words, ridge):
    """Against an independent least squares with the ridge as further rows."""
    source, target = rng.normal(size=(words, 6)), 5 * rng.normal(size=(words, 9))
    prompt = rng.normal(size=(3, 6))
    cosines = unit(prompt) @ unit(source).T
    decoder = unit(target)
    penalty = ridge * np.mean(np.linalg.svd(decoder, compute_uv=False) ** 2)
    rows = np.concatenate([decoder, np.sqrt(penalty) * np.eye(9)])
    right = np.concatenate([cosines.T, np.zeros((9, 3))])
    direction = np.linalg.lstsq(rows, right, rcond=None)[0].T
    ratio = np.median(np.linalg.norm(target, axis=1)) / np.median(
        np.linalg.norm(source, axis=1)
    )
    expected = unit(direction) * np.linalg.norm(prompt, axis=1, keepdims=True) * ratio
    fitted = recyclers.Relative(ridge).fit(source, target)
    np.testing.assert_allclose(fitted.map.apply(prompt), expected, rtol=1e-5)
    assert fitted.diagnostics["scale"] == pytest.approx(ratio)


def test_the_lengths_of_words_do_not_turn_the_prompt(rng):
    source, target = rng.normal(size=(60, 6)), rng.normal(size=(60, 9))
    prompt = rng.normal(size=(3, 6))
    stretched = target * rng.uniform(0.1, 10, size=(60, 1))
    one, other = (
        unit(recyclers.Relative().fit(source, t).map.apply(prompt))
        for t in (target, stretched)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ridge", [0, -1, float("inf"), "auto", True])
def test_a_ridge_that_is_none(ridge):
    with pytest.raises(RecyclingError, match="expected ridge to be above 0"):
        recyclers.Relative(ridge=ridge)
