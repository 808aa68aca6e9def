"""Two processes over loopback, as on a pod."""

import re

import numpy as np
from t5x_processes import start_both
from t5x_results import exported_prompt, kept_prompt, stored_prompt, witnessed


def test_train_and_eval_have_the_same_prompt(start, recycle, tmp_path):
    witness = tmp_path / "train-witness"
    runs = start_both(
        start,
        "train",
        "--gin.RECYCLER=@recyclers.CountedLinear()",
        folder=tmp_path / "train",
        files=["target_prompt.gin", "recycle_init.gin", "counted.gin"],
        last="witness.gin",
        environment={"WITNESS": str(witness), "FITS": str(tmp_path / "fits")},
    )
    for run in runs:
        run.must_work()
    assert (tmp_path / "fits").read_text().splitlines() == [str(runs[0].process.pid)]
    np.testing.assert_array_equal(kept_prompt(tmp_path / "train"), recycle())
    noted = witnessed(witness)
    for step in (40, 41, 42):
        expected = stored_prompt(tmp_path / "train", step)
        assert {where[:9] for where in noted[f"saved_{step}"]} == {
            "process_0",
            "process_1",
        }
        prompts = noted[f"saved_{step}"].values()
        for prompt in (*prompts, exported_prompt(tmp_path / "train", step)):
            np.testing.assert_array_equal(prompt, expected)
        if step == 40:
            np.testing.assert_array_equal(expected, recycle())

    witness = tmp_path / "eval-witness"
    runs = start_both(
        start, "eval", folder=tmp_path / "eval", environment={"WITNESS": str(witness)}
    )
    for run in runs:
        run.must_work()
    prompts = witnessed(witness)["restored"]
    assert {where[:9] for where in prompts} == {"process_0", "process_1"}
    for prompt in prompts.values():
        np.testing.assert_array_equal(prompt, recycle())


def test_a_missing_source_ends_both_with_the_same_message(start, tmp_path):
    """Neither waits for the other for ever."""
    runs = start_both(
        start, "train", folder=tmp_path / "run", RECYCLE_FROM="/nowhere/checkpoint_50"
    )
    codes = [run.wait() for run in runs]
    assert not {0, None} & set(codes), [run.output[-3000:] for run in runs]
    messages = [re.findall("RecyclingError: (.*)", run.output)[-1] for run in runs]
    assert messages[0] == messages[1]
    assert messages[0].startswith("/nowhere/checkpoint_50 does not exist")
