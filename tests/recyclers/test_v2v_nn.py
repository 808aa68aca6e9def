import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, save_map
from prompt_tuning_recycling.recyclers import VocabToVocabMLP

from ..conftest import thorough


def test_defaults_are_the_papers_code():
    assert VocabToVocabMLP().parameters() == {
        "hidden_scale": 4,
        "batch_size": 50,
        "learning_rate": 3e-4,
        "epochs": 25,
        "seed": 0,
    }


@pytest.mark.thorough
def test_the_network_is_two_layers(source_table, target_table, prompt):
    fitted = VocabToVocabMLP(hidden_scale=3, epochs=1).fit(source_table, target_table)
    found = fitted.map
    assert found.hidden_kernel.shape == (12, 60)
    assert found.output_kernel.shape == (60, 20)
    hidden = np.maximum(prompt @ found.hidden_kernel + found.hidden_bias, 0)
    expected = hidden @ found.output_kernel + found.output_bias
    np.testing.assert_allclose(fitted.map.apply(prompt), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_training_lowers_the_loss_it_reports(source_table, target_table):
    recycler = VocabToVocabMLP(epochs=30, learning_rate=3e-3)
    fitted = recycler.fit(source_table, target_table)
    losses = fitted.diagnostics["training_loss_by_epoch"]
    assert len(losses) == 30
    assert losses[-1] < losses[0] / 2
    assert fitted.diagnostics["training_loss"] == losses[-1]
    error = fitted.map.apply(source_table) - target_table
    assert np.mean(error**2) / 2 == pytest.approx(losses[-1], rel=0.1)


def test_another_seed_is_another_network(source_table, target_table, prompt):
    one, two = (
        VocabToVocabMLP(epochs=1, seed=s).fit(source_table, target_table)
        for s in (0, 1)
    )
    assert not np.allclose(one.map.apply(prompt), two.map.apply(prompt))


def test_fewer_words_than_a_batch(source_table, target_table, prompt):
    recycler = VocabToVocabMLP(batch_size=50, epochs=2)
    fitted = recycler.fit(source_table[:7], target_table[:7])
    assert np.isfinite(fitted.map.apply(prompt)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "batch_size"), [thorough(3, 2), (7, 3), thorough(6, 5), (50, 50)]
)
def test_the_loss_is_the_mean_over_the_words(
    source_table, target_table, words, batch_size
):
    """Whichever batch a word was in, and however many were in it."""
    source, target = source_table[:words], target_table[:words]
    untrained = VocabToVocabMLP(batch_size=batch_size, epochs=1, learning_rate=1e-30)
    fitted = untrained.fit(source, target)
    expected = np.mean((fitted.map.apply(source) - target) ** 2) / 2
    assert fitted.diagnostics["training_loss"] == pytest.approx(expected, rel=1e-5)


FIT = """
import sys
import numpy as np
from prompt_tuning_recycling import save_map
from prompt_tuning_recycling.recyclers import VocabToVocabMLP
tables = np.load(sys.argv[1])
fitted = VocabToVocabMLP(epochs=3, seed=2**32 - 1).fit(tables["s"], tables["t"])
save_map(fitted.map, sys.argv[2])
"""


SETTINGS = {
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(
    "setting", [{"JAX_ENABLE_X64": "1"}, SETTINGS], ids=["wide", "others"]
)
def test_same_bits_however_jax_is_set_up(tmp_path, source_table, target_table, setting):
    np.savez(tmp_path / "tables.npz", s=source_table, t=target_table)
    fitted = VocabToVocabMLP(epochs=3, seed=2**32 - 1).fit(source_table, target_table)
    save_map(fitted.map, tmp_path / "here")
    subprocess.run(
        [sys.executable, "-c", FIT, tmp_path / "tables.npz", tmp_path / "there"],
        env={**os.environ, **setting},
        check=True,
    )
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


@pytest.mark.slow
def test_says_how_far_it_is(source_table, target_table, caplog):
    with caplog.at_level(logging.INFO):
        VocabToVocabMLP(epochs=5).fit(source_table, target_table)
    assert "epoch 1 of 5" in caplog.text
    assert "after 5 epochs" in caplog.text


@pytest.mark.slow
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
