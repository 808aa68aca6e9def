"""Two processes over loopback, as on a pod."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from t5x_processes import DISTRIBUTED, SHARED_MODEL, flags_of_both, start_both
from t5x_results import (
    exported_prompt,
    kept_prompt,
    metrics,
    stored_prompt,
    witnessed,
)

HERE = pathlib.Path(__file__).resolve().parent


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
        start,
        "train",
        folder=tmp_path / "run",
        RECYCLE_FROM="/dev/null/absent/checkpoint_50",
    )
    codes = [run.wait() for run in runs]
    assert not {0, None} & set(codes), [run.output[-3000:] for run in runs]
    messages = [re.findall("RecyclingError: (.*)", run.output)[-1] for run in runs]
    assert messages[0] == messages[1]
    assert messages[0].startswith("/dev/null/absent/checkpoint_50 does not exist")


def test_eval_and_infer_with_a_part_of_the_model_in_each(start, recycle, tmp_path):
    for program in ("eval", "infer"):
        alone = start(program).must_work().folder
        witness, folder = tmp_path / f"{program}-witness", tmp_path / program
        runs = start_both(
            start,
            program,
            *SHARED_MODEL,
            folder=folder,
            environment={"WITNESS": str(witness)},
        )
        for run in runs:
            run.must_work()
        noted = witnessed(witness)
        assert [int(rows) for rows in noted["rows"].values()] == [32128 // 2] * 2
        for prompt in noted["restored"].values():
            np.testing.assert_array_equal(prompt, recycle())
        if program == "eval":
            assert metrics(folder) == pytest.approx(metrics(alone), rel=1e-5)
        else:
            name = "even_or_odd-predict.jsonl-00000-of-00001"
            assert (folder / name).read_bytes() == (alone / name).read_bytes()


def test_the_initializer_makes_the_same_prompt_on_both(start, recycle, tmp_path):
    witness, fits = tmp_path / "witness", tmp_path / "fits"
    runs = start_both(
        start,
        "train",
        "--gin.RECYCLER=@recyclers.CountedLinear()",
        "--gin.utils.SaveCheckpointConfig.period=1",
        folder=tmp_path / "run",
        files=[
            "flaxformer_target_prompt.gin",
            "recycle_init.gin",
            "recycle_as_initializer.gin",
            "counted.gin",
            "prompt_tuning/configs/runs/prompt_finetune.gin",
        ],
        run_file="runs/t5x/train_prompt_only.gin",
        last="witness.gin",
        environment={"WITNESS": str(witness), "FITS": str(fits)},
        USE_CACHED_TASKS=False,
        EVAL_PERIOD=0,
        # Prompt-tuning's run file has no macros for these.
        CHECKPOINT_PERIOD=...,
        KEEP_CHECKPOINTS=...,
    )
    for run in runs:
        run.must_work()
    assert fits.read_text().splitlines() == [str(runs[0].process.pid)]
    noted = witnessed(witness)
    for step in (40, 41, 42):
        first, second = noted[f"saved_{step}"].values()
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(exported_prompt(tmp_path / "run", step), first)
    for prompt in noted["saved_40"].values():
        np.testing.assert_array_equal(prompt, recycle())


def test_process_0_may_be_slow_and_the_only_one_that_sees_the_source(
    start, recycle, t5x_written, tmp_path
):
    """It takes longer than a process may be silent."""
    witness = tmp_path / "witness"
    runs = start_both(
        start,
        "eval",
        "--gin.RECYCLER=@recyclers.PausedLinear()",
        through_ours=["--heartbeat_timeout=5"],
        each=[{}, {"RECYCLE_FROM": "/dev/null/absent/checkpoint_50"}],
        folder=tmp_path / "run",
        files=["target_prompt.gin", "recycle_init.gin", "paused.gin"],
        environment={
            "WITNESS": str(witness),
            "FITS": str(tmp_path / "fits"),
            "PAUSE": "fit",
            "PAUSED": str(tmp_path / "paused"),
            "SECONDS": "15",
        },
    )
    for run in runs:
        run.must_work()
    prompts = witnessed(witness)["restored"].values()
    assert len(prompts) == 2
    for prompt in prompts:
        np.testing.assert_array_equal(prompt, recycle())


def test_a_target_that_only_process_0_sees_ends_both(start, tmp_path):
    target = "/dev/null/absent/checkpoint_40"
    runs = start_both(
        start,
        "eval",
        each=[{}, {"INITIAL_CHECKPOINT_PATH": target}],
        folder=tmp_path / "run",
    )
    codes = [run.wait() for run in runs]
    assert not {0, None} & set(codes), [run.output[-3000:] for run in runs]
    assert target in runs[1].output


def test_a_process_that_fails_alone_ends_the_other(command, tmp_path):
    """As real processes, whose end JAX puts off until all are done."""
    runs = []
    paths = [str(HERE / "importable"), os.environ.get("PYTHONPATH", "")]
    for where, run_file in zip(flags_of_both(), (None, "not_there.gin"), strict=True):
        arguments, _ = command(
            "eval",
            through=[DISTRIBUTED, "t5x.eval", "--heartbeat_timeout=10", *where],
            run_file=run_file,
            folder=tmp_path / "run",
        )
        with (tmp_path / f"log_{len(runs)}").open("w") as log:
            runs.append(
                subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    stdout=log,
                    stderr=log,
                    env={
                        **os.environ,
                        "JAX_PLATFORMS": "cpu",
                        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    },
                )
            )
    codes = [run.wait(timeout=250) for run in runs]
    assert 0 not in codes
    assert "not_there.gin" in (tmp_path / "log_1").read_text()
