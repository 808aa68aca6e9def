import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers


def test_the_prompt_is_not_changed(rng, prompt):
    source = rng.normal(size=(40, 12))
    fitted = recyclers.Copy().fit(source, rng.normal(size=(40, 12)))
    np.testing.assert_array_equal(fitted.map.apply(prompt), prompt)
    np.testing.assert_array_equal(fitted.map.apply(prompt[None])[0], prompt)


def test_the_residual_says_how_far_the_words_have_moved(rng):
    source = rng.normal(size=(40, 12))
    assert recyclers.Copy().fit(source, source).residual == pytest.approx(0, abs=1e-6)
    assert recyclers.Copy().fit(source, 2 * source).residual == pytest.approx(0.5)


def test_other_widths(source_table, target_table):
    message = "found 12 in the source and 20 in the target. Use one that maps between"
    with pytest.raises(RecyclingError, match=message):
        recyclers.Copy().fit(source_table, target_table)
