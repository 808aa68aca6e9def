"""`t5x.main`, one program for all of T5X's."""

import numpy as np
from t5x_processes import start_both
from t5x_results import exported_prompt, kept_prompt, metrics


def test_train_and_eval(start, recycle):
    through = ["t5x.main"]
    trained = start("train", "--run_mode=train", through=through, EVAL_PERIOD=0)
    trained.must_work()
    np.testing.assert_array_equal(kept_prompt(trained.folder), recycle())
    np.testing.assert_array_equal(exported_prompt(trained.folder, 40), recycle())
    assert (trained.folder / "checkpoint_42").is_dir()

    evaluated = start("eval", "--run_mode=eval", through=through).must_work()
    np.testing.assert_array_equal(kept_prompt(evaluated.folder), recycle())
    alone = start("eval").must_work()
    assert metrics(evaluated.folder) == metrics(alone.folder)


def test_two_processes_train(start, recycle, tmp_path):
    runs = start_both(
        start,
        "train",
        "--run_mode=train",
        module="t5x.main",
        folder=tmp_path / "run",
        EVAL_PERIOD=0,
    )
    for run in runs:
        run.must_work()
    np.testing.assert_array_equal(exported_prompt(tmp_path / "run", 40), recycle())
