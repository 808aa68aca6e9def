import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_is_its_formula(rng, temperature):
    """Written out, word by word."""
    source, target = rng.normal(size=(20, 5)) + 1, rng.normal(size=(20, 4))
    prompt = rng.normal(size=(3, 5))
    mean = source.mean(axis=0)
    expected = []
    for vector in prompt - mean:
        weights = [
            np.exp(
                (word @ vector)
                / (np.linalg.norm(word) * np.linalg.norm(vector) * temperature)
            )
            for word in source - mean
        ]
        total = sum(w * t for w, t in zip(weights, target, strict=True))
        expected.append(total / sum(weights))
    fitted = recyclers.SoftNearest(temperature).fit(source, target).map
    np.testing.assert_allclose(fitted.apply(prompt), expected, rtol=1e-5, atol=1e-6)


def test_rescaled_it_is_as_long_as_the_prompt_in_the_targets_units(rng):
    source, target = rng.normal(size=(20, 5)), 7 * rng.normal(size=(20, 4))
    prompt = 100 * rng.normal(size=(3, 5))
    plain, rescaled = (
        recyclers.SoftNearest(rescale=rescale).fit(source, target).map.apply(prompt)
        for rescale in (False, True)
    )
    norms = [np.linalg.norm(a, axis=1) for a in (prompt, source, target)]
    ratio = np.median(norms[2]) / np.median(norms[1])
    lengths = np.linalg.norm(rescaled, axis=1)
    np.testing.assert_allclose(lengths, norms[0] * ratio, rtol=1e-5)
    directions = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(rescaled / lengths[:, None], directions, rtol=1e-4)


def test_a_small_temperature_takes_the_nearest_word(rng):
    source, target = rng.normal(size=(20, 5)), rng.normal(size=(20, 4))
    fitted = recyclers.SoftNearest(temperature=1e-5).fit(source, target).map
    np.testing.assert_allclose(fitted.apply(source), target, rtol=1e-6)


def test_the_mean_of_the_words_becomes_their_mean(rng):
    source = rng.integers(-8, 8, size=(16, 5)).astype(np.float64)
    target = rng.normal(size=(16, 4))
    fitted = recyclers.SoftNearest().fit(source, target).map
    mapped = fitted.apply(source.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(mapped[0], target.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0, -0.1, float("nan"), None])
def test_a_temperature_that_is_none(temperature):
    with pytest.raises(RecyclingError, match="expected temperature to be above 0"):
        recyclers.SoftNearest(temperature=temperature)


def test_rescale_is_yes_or_no():
    with pytest.raises(RecyclingError, match="rescale to be true or false, got 'no'"):
        recyclers.SoftNearest(rescale="no")
