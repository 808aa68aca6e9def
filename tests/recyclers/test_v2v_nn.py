import logging

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.recyclers import VocabToVocabMLP


def test_defaults_are_the_papers_code():
    assert VocabToVocabMLP().parameters() == {
        "hidden_scale": 4,
        "batch_size": 50,
        "learning_rate": 3e-4,
        "epochs": 25,
        "seed": 0,
    }


def test_the_network_is_two_layers(source_table, target_table, prompt):
    fitted = VocabToVocabMLP(hidden_scale=3, epochs=1).fit(source_table, target_table)
    a = fitted.arrays
    assert a["hidden_kernel"].shape == (12, 60)
    assert a["output_kernel"].shape == (60, 20)
    hidden = np.maximum(prompt @ a["hidden_kernel"] + a["hidden_bias"], 0)
    expected = hidden @ a["output_kernel"] + a["output_bias"]
    np.testing.assert_allclose(fitted.apply(prompt), expected, rtol=1e-4, atol=1e-5)


def test_training_lowers_the_loss_it_reports(source_table, target_table):
    recycler = VocabToVocabMLP(epochs=30, learning_rate=3e-3)
    fitted = recycler.fit(source_table, target_table)
    losses = fitted.diagnostics["training_loss_by_epoch"]
    assert len(losses) == 30
    assert losses[-1] < losses[0] / 2
    assert fitted.diagnostics["training_loss"] == losses[-1]
    error = fitted.apply(source_table) - target_table
    assert np.mean(error**2) / 2 == pytest.approx(losses[-1], rel=0.1)


def test_another_seed_is_another_network(source_table, target_table, prompt):
    one, two = (
        VocabToVocabMLP(epochs=1, seed=s).fit(source_table, target_table)
        for s in (0, 1)
    )
    assert not np.allclose(one.apply(prompt), two.apply(prompt))


def test_fewer_words_than_a_batch(source_table, target_table, prompt):
    recycler = VocabToVocabMLP(batch_size=50, epochs=2)
    fitted = recycler.fit(source_table[:7], target_table[:7])
    assert np.isfinite(fitted.apply(prompt)).all()


def test_a_batch_that_is_not_full_counts_only_its_words(source_table, target_table):
    """Three words in batches of two: the mean of a pair, and one by itself."""
    source, target = source_table[:3], target_table[:3]
    untrained = VocabToVocabMLP(batch_size=2, epochs=1, learning_rate=1e-30)
    fitted = untrained.fit(source, target)
    a, b, c = np.mean((fitted.apply(source) - target) ** 2, axis=1) / 2
    possible = [((x + y) / 2 + z) / 2 for x, y, z in [(a, b, c), (a, c, b), (b, c, a)]]
    loss = fitted.diagnostics["training_loss"]
    assert np.isclose(loss, possible, rtol=1e-5).any()


def test_says_how_far_it_is(source_table, target_table, caplog):
    with caplog.at_level(logging.INFO):
        VocabToVocabMLP(epochs=5).fit(source_table, target_table)
    assert "epoch 1 of 5" in caplog.text
    assert "after 5 epochs" in caplog.text


def test_a_training_that_diverges_is_an_error(source_table, target_table):
    recycler = VocabToVocabMLP(learning_rate=1e30, epochs=3)
    with pytest.raises(RecyclingError, match="diverged. Lower learning_rate"):
        recycler.fit(source_table, target_table)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"epochs": 2.5},
        {"batch_size": 0},
        {"hidden_scale": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_parameters_are_validated(wrong):
    (name,) = wrong
    with pytest.raises(RecyclingError, match=f"expected {name} to be"):
        VocabToVocabMLP(**wrong)
