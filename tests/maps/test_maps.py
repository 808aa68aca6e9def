"""Each map does what its formula says, for any leading axes."""

import numpy as np
import pytest

from prompt_tuning_recycling import maps

SOURCE_DIM, TARGET_DIM, HIDDEN, WORDS = 4, 3, 6, 9


@pytest.fixture
def array(rng):
    return lambda *shape: rng.normal(size=shape)


@pytest.fixture(params=["linear", "affine", "combination", "network"])
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


def test_the_coefficients_say_how_much_of_each_word(array):
    words = array(3, SOURCE_DIM)
    combination = maps.Combination(np.linalg.pinv(words), array(3, TARGET_DIM))
    found = combination.coefficients(words[[2]] * 5)
    np.testing.assert_allclose(found, [[0, 0, 5]], atol=1e-9)
