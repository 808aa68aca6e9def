"""Whole models that T5X trains: from random parameters, and from a checkpoint."""

import numpy as np
import pytest
from t5x_results import kept_prompt, metrics

from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.standalone import steps

SCRATCH = {
    "files": ["target.gin"],
    "run_file": "runs/t5x/pretrain.gin",
    "INITIAL_CHECKPOINT_PATH": ...,
}
FURTHER = {
    "files": ["target.gin"],
    "run_file": "runs/t5x/finetune.gin",
    "TRAIN_STEPS": ...,
    "TRAIN_STEPS_RELATIVE": 2,
    "LEARNING_RATE": 0.01,
}


def parameters(folder, step):
    checkpoint = open_checkpoint(folder / f"checkpoint_{step}")
    assert int(checkpoint.read("state/step")) == step
    names = [name for name in checkpoint.keys() if name.startswith("target/")]
    return {name: checkpoint.read(name) for name in names}


def states(folder, step):
    checkpoint = open_checkpoint(folder / f"checkpoint_{step}")
    names = [name for name in checkpoint.keys() if "param_states" in name]
    return {name: checkpoint.read(name) for name in names}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture(scope="module")
def pretrained(start):
    """Two steps from random parameters."""
    return start("train", **SCRATCH, TRAIN_STEPS=2).must_work().folder


def test_all_parameters_are_trained(pretrained, t5x_written):
    first, last = parameters(pretrained, 0), parameters(pretrained, 2)
    assert first.keys() == parameters(t5x_written / "target_orbax", 40).keys()
    assert not [name for name in first if np.array_equal(first[name], last[name])]
    assert "accuracy" in metrics(pretrained)


def test_seeds_give_different_models(start, pretrained):
    other = start("train", **SCRATCH, TRAIN_STEPS=1, RANDOM_SEED=1).must_work().folder
    name = "target/token_embedder/embedding"
    tables = [parameters(folder, 0)[name] for folder in (pretrained, other)]
    assert np.abs(tables[0] - tables[1]).max() > 0.1


def test_it_is_resumed(start, pretrained):
    before, moments = parameters(pretrained, 2), states(pretrained, 2)
    start("train", **SCRATCH, TRAIN_STEPS=4, folder=pretrained).must_work()
    assert_equal(parameters(pretrained, 2), before)
    after = parameters(pretrained, 4)
    assert not [name for name in after if np.array_equal(after[name], before[name])]
    # The optimizer goes on from what it had.
    assert moments.keys() == states(pretrained, 4).keys()
    assert any(np.abs(array).max() > 0 for array in moments.values())


def test_it_is_a_target_for_recycled_prompts(start, recycle, pretrained):
    run = start(
        "eval", INITIAL_CHECKPOINT_PATH=str(pretrained / "checkpoint_2")
    ).must_work()
    expected = recycle(target=str(pretrained / "checkpoint_2"))
    np.testing.assert_array_equal(kept_prompt(run.folder), expected)
    assert "accuracy" in metrics(run.folder)


def test_it_is_trained_further(start, pretrained):
    """With the optimizer's states, and with a record of what it was started from."""
    path = str(pretrained / "checkpoint_2")
    folder = start("train", **FURTHER, INITIAL_CHECKPOINT_PATH=path).must_work().folder
    assert_equal(parameters(folder, 2), parameters(pretrained, 2))
    assert_equal(states(folder, 2), states(pretrained, 2))
    first, last = parameters(folder, 2), parameters(folder, 4)
    assert not [name for name in first if np.array_equal(first[name], last[name])]
    other = str(pretrained / "checkpoint_0")
    run = start("train", **FURTHER, INITIAL_CHECKPOINT_PATH=other, folder=folder)
    assert run.wait() not in (0, None)
    assert "but now initial_checkpoint is" in run.output


def test_a_checkpoint_without_optimizer_states_is_trained_further(
    start, pretrained, tmp_path
):
    """As the standalone host's, whose optimizers are not T5X's."""
    saver = steps.Saver(tmp_path, keep=1, dtype="float32")
    weights = {
        name.removeprefix("target/"): array
        for name, array in parameters(pretrained, 2).items()
    }
    saver.save(2, weights, optimizer_state={})
    saver.close()
    path = str(tmp_path / "checkpoint_2")
    folder = start("train", **FURTHER, INITIAL_CHECKPOINT_PATH=path).must_work().folder
    assert_equal(parameters(folder, 2), parameters(pretrained, 2))
    first, last = parameters(folder, 2), parameters(folder, 4)
    assert not [name for name in first if np.array_equal(first[name], last[name])]


def test_packed_examples_and_a_prompt_are_refused(start):
    run = start("train", **{**SCRATCH, "files": ["target_prompt.gin"]}, TRAIN_STEPS=1)
    assert run.wait() not in (0, None)
    assert "packed examples would share one prompt: set pack = False" in run.output


def test_a_misspelt_macro_stops_the_run(start):
    run = start("train", **SCRATCH, TRAIN_STEPS=1, WARMUP_STEP=1)
    assert run.wait() not in (0, None)
    assert "uses WARMUP_STEP. Did you mean WARMUP_STEPS" in run.output
