"""T5X and the standalone host: the same prompts, metrics and checkpoints."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from t5x_results import kept_prompt, metrics, stored_prompt

IMPORTABLE = pathlib.Path(__file__).resolve().parent / "importable"


@pytest.fixture(scope="session")
def tuned(start):
    """A run that tunes a recycled prompt, of each host; all flags are the same."""
    made = {}

    def tuned(host):
        if host not in made:
            run = start("train", host=host, EVAL_STEPS=..., TRAIN_STEPS=46)
            made[host] = run.must_work().folder
        return made[host]

    return tuned


@pytest.fixture(scope="session")
def measured(start):
    """Metrics of a checkpoint or, by default, of a prompt recycled for the target."""

    def measured(host, checkpoint=None):
        files, macros = ["target_prompt.gin"], {}
        if checkpoint:
            macros["INITIAL_CHECKPOINT_PATH"] = str(checkpoint)
        else:
            files.append("recycle_init.gin")
        run = start("eval", host=host, files=files, **macros).must_work()
        return run.folder, metrics(run.folder)

    return measured


def test_the_command_as_it_is_typed(command, measured):
    """`python -m t5x.eval`, not forked from a process that has imported T5X."""
    arguments, folder = command("eval")
    paths = os.pathsep.join([str(IMPORTABLE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths.strip(os.pathsep)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert metrics(folder) == pytest.approx(measured("t5x")[1], rel=1e-6)


def test_commands_that_differ_in_program_and_run_file_alone(measured, recycle):
    (ours, standalone), (theirs, in_t5x) = measured("standalone"), measured("t5x")
    np.testing.assert_array_equal(kept_prompt(ours), recycle())
    np.testing.assert_array_equal(kept_prompt(theirs), recycle())
    assert standalone == pytest.approx(in_t5x, rel=1e-4)


@pytest.mark.parametrize("host", ["t5x", "standalone"])
def test_a_prompt_tuned_in_one_host_is_evaluated_by_both(tuned, measured, host):
    checkpoint = tuned(host) / "checkpoint_46"
    _, in_t5x = measured("t5x", checkpoint)
    _, standalone = measured("standalone", checkpoint)
    assert standalone == pytest.approx(in_t5x, rel=1e-4)
    # And it is another than the one that it began with.
    _, before = measured("t5x")
    assert in_t5x["log_likelihood"] > before["log_likelihood"] + 0.1


def test_both_hosts_tune_alike(tuned, recycle):
    """Adafactor counts from the checkpoint's step in both; the order of the examples
    differs, so that only the beginning is the same to the bit."""
    for host in ("t5x", "standalone"):
        np.testing.assert_array_equal(kept_prompt(tuned(host)), recycle())
    ours, theirs = (stored_prompt(tuned(host), 46) for host in ("standalone", "t5x"))
    moved = [np.linalg.norm(prompt - recycle()) for prompt in (ours, theirs)]
    assert moved[0] == pytest.approx(moved[1], rel=0.3)
