"""T5X's scalable_t5, whose layers are scanned, with a recycled prompt."""

import numpy as np
import pytest
from t5x_results import exported_prompt, kept_prompt, metrics, stored_prompt

from prompt_tuning_recycling import recycle_prompt
from prompt_tuning_recycling.models import open_checkpoint

FILES = ["scalable_t5_prompt.gin", "recycle_init.gin"]
FIRST = 2


@pytest.fixture(scope="module")
def expected(pretrained, tuned):
    source, target = tuned("scalable_t5_source"), pretrained("scalable_t5")
    return recycle_prompt(source, target).array


@pytest.fixture(scope="module")
def run(start, pretrained, tuned):
    def run(program, **rest):
        return start(
            program,
            **{
                "files": FILES,
                "INITIAL_CHECKPOINT_PATH": str(pretrained("scalable_t5")),
                "RECYCLE_FROM": str(tuned("scalable_t5_source")),
                **({"TRAIN_STEPS": FIRST + 2} if program == "train" else {}),
                **rest,
            },
        )

    return run


def test_layers_are_scanned(pretrained):
    checkpoint = open_checkpoint(pretrained("scalable_t5"))
    name = "target/encoder/encoder/attention/query/kernel"
    assert checkpoint.shape(name) == (24, 3, 2, 8)


def test_train_resume_and_evaluate(run, start, expected, tmp_path):
    folder = tmp_path / "run"
    run("train", folder=folder).must_work()
    np.testing.assert_array_equal(kept_prompt(folder), expected)
    np.testing.assert_array_equal(stored_prompt(folder, FIRST), expected)
    tuned = stored_prompt(folder, FIRST + 2)
    assert np.abs(tuned - expected).max() > 0.01
    run("train", folder=folder, TRAIN_STEPS=FIRST + 3).must_work()
    np.testing.assert_array_equal(stored_prompt(folder, FIRST + 2), tuned)
    last = stored_prompt(folder, FIRST + 3)
    assert np.abs(last - tuned).max() > 0.01
    np.testing.assert_array_equal(exported_prompt(folder, FIRST + 3), last)
    # Nothing else was trained.
    before = open_checkpoint(folder / f"checkpoint_{FIRST}")
    after = open_checkpoint(folder / f"checkpoint_{FIRST + 3}")
    others = [n for n in before.keys() if n.startswith("target/") and "prompt" not in n]
    assert len(others) > 20
    for name in others:
        np.testing.assert_array_equal(before.read(name), after.read(name))
    evaluated = start(
        "eval",
        files=["scalable_t5_prompt.gin"],
        INITIAL_CHECKPOINT_PATH=str(folder / f"checkpoint_{FIRST + 3}"),
    ).must_work()
    assert metrics(evaluated.folder).keys() == {"accuracy", "log_likelihood"}


@pytest.mark.parametrize("program", ["eval", "infer"])
def test_start_from_a_recycled_prompt(run, expected, program):
    folder = run(program).must_work().folder
    np.testing.assert_array_equal(kept_prompt(folder), expected)
    if program == "infer":
        (predictions,) = folder.glob("*.jsonl-00000-of-00001")
        assert len(predictions.read_text().splitlines()) == 16
