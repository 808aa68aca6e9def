"""Training runs, from the command line to what they leave behind."""

import numpy as np

FIRST = 1600
PROMPT = "target/encoder/prompt/prompt/prompt"


def test_tuning_leaves_what_t5x_leaves(tune, tmp_path, exported, metrics, steps):
    result = tune(tmp_path / "run", RUN_EVAL_BEFORE_TRAINING=True)
    run = tmp_path / "run"
    assert steps(run) == [FIRST + 6]
    assert [step for step, _ in metrics(run)] == [FIRST, FIRST + 3, FIRST + 6]
    assert (run / "config.gin").read_text().count("MODEL_DIR")
    exports = {path.name for path in (run / "numpy_checkpoints").iterdir()}
    assert exports == {f"checkpoint_{FIRST + done}" for done in (0, 2, 4, 6)}
    for folder in ("train", "inference_eval/tiny_ranked"):
        assert list((run / folder).glob("events.out.tfevents.*"))
    value = metrics(run)[-1][1]["accuracy"]
    assert f"step {FIRST + 6}: tiny_ranked: accuracy {value:.4g}" in result.out
    assert f"wrote {run}/checkpoint_{FIRST + 6}" in result.out
    assert result.error == ""


def test_twice(tune, tmp_path, exported, metrics, steps):
    tune(tmp_path / "a")
    tune(tmp_path / "b")
    np.testing.assert_array_equal(
        exported(tmp_path / "a", FIRST + 6), exported(tmp_path / "b", FIRST + 6)
    )
