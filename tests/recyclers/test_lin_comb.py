"""What is particular to `lin-comb`; its laws are in test_base.py."""

import numpy as np

from prompt_tuning_recycling.recyclers import LinearCombination


def test_coefficients_say_how_much_of_each_word(source_table, target_table):
    fitted = LinearCombination().fit(source_table[:9], target_table[:9]).map
    coefficients = fitted.coefficients(source_table[[4]])
    np.testing.assert_allclose(coefficients[0], np.eye(9)[4], atol=1e-6)


def test_the_prompt_is_the_coefficients_times_the_targets_words(
    source_table, target_table, prompt
):
    fitted = LinearCombination().fit(source_table, target_table).map
    coefficients = fitted.coefficients(prompt)
    assert coefficients.shape == (5, 384)
    np.testing.assert_allclose(coefficients @ source_table, prompt, atol=1e-5)
    np.testing.assert_allclose(
        coefficients @ target_table, fitted.apply(prompt), rtol=1e-4, atol=1e-4
    )
