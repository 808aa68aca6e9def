import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers


def fit_around(vector, source, target, neighbors, ridge):
    """The affine map around one vector, by least squares with the ridge as rows."""
    cosines = source @ vector / np.linalg.norm(source, axis=1)
    near = np.argsort(-cosines)[:neighbors]
    a, b = (t[near] - t[near].mean(axis=0) for t in (source, target))
    penalty = ridge * np.mean(np.linalg.svd(a, compute_uv=False) ** 2)
    rows = np.concatenate([a, np.sqrt(penalty) * np.eye(source.shape[1])])
    right = np.concatenate([b, np.zeros((source.shape[1], target.shape[1]))])
    matrix = np.linalg.lstsq(rows, right, rcond=None)[0]
    return target[near].mean(axis=0) + (vector - source[near].mean(axis=0)) @ matrix


@pytest.mark.parametrize("neighbors", [2, 5, 8, 9, 30, 128])
def test_it_is_its_formula(rng, neighbors):
    """With fewer neighbors than dimensions, as many, and more; or all words."""
    source, target = rng.normal(size=(100, 8)), rng.normal(size=(100, 5))
    prompt = rng.normal(size=(4, 8))
    expected = [fit_around(p, source, target, neighbors, 0.1) for p in prompt]
    fitted = recyclers.Local(neighbors=neighbors).fit(source, target).map
    np.testing.assert_allclose(fitted.apply(prompt), expected, rtol=1e-5, atol=1e-6)


def test_all_words_around_are_the_same(rng):
    source, target = np.ones((40, 8)), rng.normal(size=(40, 5))
    source[30:] = rng.normal(size=(10, 8))
    fitted = recyclers.Local(neighbors=5).fit(source, target).map
    assert np.isfinite(fitted.apply(np.ones((2, 8)))).all()


def test_other_things_being_equal_it_is_an_affine_map(rng):
    """Where the target is an affine image of the source, and hardly any ridge."""
    source, image = rng.normal(size=(100, 6)), rng.normal(size=(6, 4))
    fitted = recyclers.Local(ridge=1e-9).fit(source, source @ image + 3).map
    prompt = rng.normal(size=(3, 6))
    np.testing.assert_allclose(fitted.apply(prompt), prompt @ image + 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"neighbors": 0}, "neighbors to be a whole number of at least 1, got 0"),
        ({"neighbors": 1.5}, "neighbors to be a whole number of at least 1, got 1.5"),
        ({"ridge": 0}, "ridge to be above 0, got 0"),
    ],
)
def test_parameters_that_cannot_be(parameters, message):
    with pytest.raises(RecyclingError, match=message):
        recyclers.Local(**parameters)
