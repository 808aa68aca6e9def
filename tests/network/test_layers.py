"""The embedding table, and dropout."""

import dataclasses

import numpy as np
import pytest

from .conftest import CONFIG, logits_of, variables_of


@pytest.mark.thorough
def test_one_hot_embedding_gives_the_same_numbers():
    config = dataclasses.replace(CONFIG, one_hot_embedding=True)
    variables = variables_of(CONFIG)
    np.testing.assert_allclose(
        logits_of(config, variables), logits_of(CONFIG, variables), atol=1e-5
    )


def dropped_out(rate, key, enable_dropout=True):
    config = dataclasses.replace(CONFIG, dropout_rate=rate)
    variables = variables_of(CONFIG)
    return logits_of(config, variables, enable_dropout=enable_dropout, key=key)


@pytest.mark.thorough
def test_dropout_follows_its_random_stream():
    np.testing.assert_array_equal(dropped_out(0.3, key=1), dropped_out(0.3, key=1))
    assert abs(dropped_out(0.3, key=1) - dropped_out(0.3, key=2)).max() > 1e-3


def test_without_dropout_nothing_is_dropped():
    expected = logits_of(CONFIG, variables_of(CONFIG))
    np.testing.assert_array_equal(
        dropped_out(0.3, key=1, enable_dropout=False), expected
    )
    np.testing.assert_array_equal(dropped_out(0.0, key=1), expected)
