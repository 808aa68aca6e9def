"""A MODEL_DIR in place of a checkpoint stands for its newest step, for the target as
for the source."""

import shutil

import numpy as np
import pytest
from t5x_results import kept_prompt, stored_prompt, witnessed


@pytest.fixture
def model_dir(t5x_written, tmp_path):
    for step, target in ((10, "target_orbax"), (40, "target_legacy")):
        shutil.copytree(
            t5x_written / target / "checkpoint_40",
            tmp_path / f"target/checkpoint_{step}",
        )
    # What a run leaves that was killed.
    (tmp_path / "target/checkpoint_50.tmp-1700000000").mkdir()
    return tmp_path / "target"


@pytest.mark.parametrize("program", ["train", "eval", "infer"])
def test_its_newest_step_is_restored(start, model_dir, recycle, tmp_path, program):
    run = start(
        program,
        folder=tmp_path / "run",
        INITIAL_CHECKPOINT_PATH=f"{model_dir}/",
        environment={"WITNESS": str(tmp_path / "witness")},
    ).must_work()
    expected = recycle(target="target_legacy")
    np.testing.assert_array_equal(kept_prompt(run.folder), expected)
    (restored,) = witnessed(tmp_path / "witness")["restored"].values()
    np.testing.assert_array_equal(restored, expected)
    if program != "train":
        return
    np.testing.assert_array_equal(stored_prompt(run.folder, 40), expected)
    # The run goes on from its own checkpoint, whatever is added to the target.
    shutil.copytree(model_dir / "checkpoint_10", model_dir / "checkpoint_60")
    start(
        "train",
        folder=tmp_path / "run",
        INITIAL_CHECKPOINT_PATH=str(model_dir),
        TRAIN_STEPS=43,
    ).must_work()
    assert (run.folder / "checkpoint_43").is_dir()


@pytest.mark.parametrize("program", ["train", "eval", "infer"])
def test_relative_paths(start, model_dir, recycle, tmp_path, program):
    output = {"train": "MODEL_DIR", "eval": "EVAL_OUTPUT_DIR"}
    run = start(
        program,
        folder=tmp_path / "run",
        INITIAL_CHECKPOINT_PATH="target/checkpoint_40",
        working_folder=str(tmp_path),
        **{output.get(program, "INFER_OUTPUT_DIR"): "run"},
    ).must_work()
    np.testing.assert_array_equal(
        kept_prompt(run.folder), recycle(target="target_legacy")
    )
    if program == "train":
        assert (run.folder / "checkpoint_42").is_dir()
