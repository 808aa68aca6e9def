"""Each map does what its formula says, for any leading axes."""

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, maps

SOURCE_DIM, TARGET_DIM, HIDDEN, WORDS = 4, 3, 6, 9


@pytest.fixture
def array(rng):
    return lambda *shape: rng.normal(size=shape)


KINDS = ["linear", "affine", "combination", "network", "directional", "identity"]


def with_length(vectors, lengths):
    return vectors * lengths / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(params=[*KINDS, "mean"])
def map_and_formula(request, array):
    matrix, bias = array(SOURCE_DIM, TARGET_DIM), array(TARGET_DIM)
    inverse, words = array(SOURCE_DIM, WORDS), array(WORDS, TARGET_DIM)
    kernel, hidden_bias = array(SOURCE_DIM, HIDDEN), array(HIDDEN)
    output = array(HIDDEN, TARGET_DIM)
    return {
        "linear": (maps.Linear(matrix), lambda p: p @ matrix),
        "affine": (maps.Affine(matrix, bias), lambda p: p @ matrix + bias),
        "combination": (
            maps.Combination(inverse, words),
            lambda p: p @ inverse @ words,
        ),
        "network": (
            maps.Network(kernel, hidden_bias, output, bias),
            lambda p: np.maximum(p @ kernel + hidden_bias, 0) @ output + bias,
        ),
        "directional": (
            maps.Directional(matrix, 3.0),
            lambda p: with_length(
                p @ matrix, 3 * np.linalg.norm(p, axis=-1, keepdims=True)
            ),
        ),
        "identity": (maps.Identity(SOURCE_DIM), lambda p: p),
        "mean": (
            maps.Mean((maps.Linear(matrix), maps.Affine(3 * matrix, bias))),
            lambda p: (4 * p @ matrix + bias) / 2,
        ),
    }[request.param]


@pytest.mark.parametrize("leading", [(), (7,), (2, 3)])
def test_it_is_its_formula(map_and_formula, array, leading):
    map_, formula = map_and_formula
    prompts = array(*leading, 5, SOURCE_DIM)
    mapped = map_.apply(prompts)
    assert mapped.dtype == np.float32
    assert map_.source_dim == SOURCE_DIM
    np.testing.assert_allclose(mapped, formula(prompts), rtol=1e-5, atol=1e-5)


def test_the_residual_is_relative_to_the_target(array):
    source, target = array(WORDS, SOURCE_DIM), array(WORDS, TARGET_DIM)
    zero = maps.Linear(np.zeros((SOURCE_DIM, TARGET_DIM)))
    assert maps.residual(zero, source, target) == 1
    assert maps.residual(zero, source[:0], target[:0]) is None
    matrix = array(SOURCE_DIM, TARGET_DIM)
    exact = maps.residual(maps.Linear(matrix), source, source @ matrix)
    assert exact == pytest.approx(0, abs=1e-6)


class Counting(maps.Linear):
    """A map that says it is costly, and notes what it is applied to."""

    costly = True

    def _apply(self, vectors):
        self.__dict__.setdefault("applied", []).append(vectors)
        return super()._apply(vectors)


def test_a_costly_map_is_measured_on_some_words_from_first_to_last(array):
    source, matrix = array(1000, SOURCE_DIM), array(SOURCE_DIM, TARGET_DIM)
    target = source @ matrix
    counting = Counting(2 * matrix)
    assert maps.residual(counting, source, target, enough=50) == pytest.approx(1)
    (applied,) = counting.applied
    assert applied.shape == (50, SOURCE_DIM)
    np.testing.assert_array_equal(applied[[0, -1]], source[[0, -1]])
    assert maps.residual(counting, source[:50], target[:50], enough=50) is not None
    assert len(counting.applied[1]) == 50


@pytest.mark.parametrize("widths", [(), (3, 4)])
def test_a_mean_is_of_maps_for_one_width(widths):
    with pytest.raises(RecyclingError, match="at least one map, all for prompts of"):
        maps.Mean(tuple(maps.Identity(width) for width in widths))


def test_a_mean_is_costly_if_one_of_its_maps_is(array):
    linear = maps.Linear(array(SOURCE_DIM, TARGET_DIM))
    sparse = maps.Sparse(array(WORDS, SOURCE_DIM), array(WORDS, TARGET_DIM), 2)
    assert not maps.Mean((linear,)).costly
    assert maps.Mean((linear, maps.Mean((sparse,)))).costly


def test_the_coefficients_say_how_much_of_each_word(array):
    words = array(3, SOURCE_DIM)
    combination = maps.Combination(np.linalg.pinv(words), array(3, TARGET_DIM))
    found = combination.coefficients(words[[2]] * 5)
    np.testing.assert_allclose(found, [[0, 0, 5]], atol=1e-9)
