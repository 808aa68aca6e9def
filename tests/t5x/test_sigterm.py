"""SIGTERM, which a preempted host gets, ends a run. Started again, it comes to the same
as one that was not disturbed, to the bit.
"""

import shutil
import time

import numpy as np
import pytest
from t5x_processes import start_both
from t5x_results import exported_prompt, stored_prompt

FIRST, LAST = 40, 43
# A step has all examples, so that a resumed run, which begins with the first example
# again, takes the same steps.
TRAINING = {
    "files": ["target_prompt.gin", "recycle_init.gin", "paused.gin"],
    "BATCH_SIZE": 64,
    "SHUFFLE_TRAIN_EXAMPLES": False,
    "EVAL_PERIOD": 0,
    "TRAIN_STEPS": LAST,
}


@pytest.fixture(params=[1, 2], ids=["one-process", "two-processes"])
def trained(request, start):
    """Starts training, on one process or on two."""

    def trained(folder, **macros):
        flag = "--gin.RECYCLER=@recyclers.PausedLinear()"
        given = {**TRAINING, "folder": folder, **macros}
        if request.param == 1:
            return [start("train", flag, **given)]
        # Where process 1 has ended, and nothing is sent to it, only its silence tells.
        through = ["--heartbeat_timeout=10"]
        return start_both(start, "train", flag, through_ours=through, **given)

    return trained


def test_preempted_in_the_fit_in_the_first_save_and_in_a_later_one(
    trained, recycle, t5x_written, tmp_path
):
    source, folder = tmp_path / "source", tmp_path / "run"
    shutil.copytree(t5x_written / "prompt_orbax/checkpoint_50", source)
    fits = tmp_path / "fits"
    common = {"RECYCLE_FROM": str(source)}

    def preempted(where):
        """A run that gets SIGTERM; on its last process, where the others are busy."""
        paused = tmp_path / where
        environment = {"FITS": str(fits), "PAUSE": where, "PAUSED": str(paused)}
        runs = trained(folder, environment=environment, **common)
        wait_for(runs, paused)
        runs[-1].process.terminate()
        codes = [run.wait(60) for run in runs]
        assert not {0, None} & set(codes), [run.output[-3000:] for run in runs]

    def number_of_fits():
        return fits.read_text().count("\n")

    preempted("fit")
    assert number_of_fits() == 1
    assert not (folder / "recycled_prompt").exists()

    # Started again, it recycles again.
    preempted(f"write_{FIRST}")
    assert number_of_fits() == 2
    assert not (folder / f"checkpoint_{FIRST}").exists()
    # The export comes first.
    np.testing.assert_array_equal(exported_prompt(folder, FIRST), recycle())

    # What it has recycled is kept, before there is any checkpoint.
    shutil.rmtree(source)
    preempted(f"write_{FIRST + 2}")
    assert number_of_fits() == 2
    np.testing.assert_array_equal(stored_prompt(folder, FIRST), recycle())
    written = (folder / f"checkpoint_{FIRST + 1}").stat().st_mtime_ns
    assert not (folder / f"checkpoint_{FIRST + 2}").exists()

    # It goes on from the newest whole checkpoint.
    for run in trained(folder, environment={"FITS": str(fits)}, **common):
        run.must_work()
    assert number_of_fits() == 2
    assert (folder / f"checkpoint_{FIRST + 1}").stat().st_mtime_ns == written

    undisturbed = tmp_path / "undisturbed"
    for run in trained(undisturbed, environment={"FITS": str(fits)}):
        run.must_work()
    for step in range(FIRST, LAST + 1):
        expected = stored_prompt(undisturbed, step)
        np.testing.assert_array_equal(stored_prompt(folder, step), expected)
        np.testing.assert_array_equal(exported_prompt(folder, step), expected)
    assert names(folder) == names(undisturbed)


@pytest.mark.parametrize("program", ["eval", "choose"])
def test_what_saves_no_steps_begins_again(
    start, recycle, t5x_written, tmp_path, program
):
    fits, paused, folder = tmp_path / "fits", tmp_path / "paused", tmp_path / "run"
    given = {"files": ["target_prompt.gin", "recycle_init.gin", "paused.gin"]}
    flags = ["--gin.RECYCLER=@recyclers.PausedLinear()"]
    if program == "choose":
        flags = []
        given = {
            "files": ["target_prompt.gin", "paused.gin"],
            "RECYCLE_FROM": str(t5x_written / "prompt_orbax/checkpoint_50"),
            "MIXTURE_OR_TASK_NAME": "even_or_odd_ranked",
            "CANDIDATES": ["paused"],
            "NUM_UNLABELED": 12,
        }
    environment = {"FITS": str(fits), "PAUSE": "fit", "PAUSED": str(paused)}
    run = start(program, *flags, folder=folder, environment=environment, **given)
    wait_for([run], paused)
    run.process.terminate()
    assert run.wait(60) not in (0, None)
    assert not list(folder.glob("*/prompt.npy"))

    environment = {"FITS": str(fits)}
    run = start(program, *flags, folder=folder, environment=environment, **given)
    run.must_work()
    (made,) = folder.glob("*/prompt.npy")
    np.testing.assert_array_equal(np.load(made), recycle())


def names(folder):
    """What is there, without what T5X names after the time."""
    return {path.name for path in folder.iterdir() if "tfevents" not in path.name}


def wait_for(runs, path):
    started = time.monotonic()
    while not path.exists():
        assert all(run.process.is_alive() for run in runs), runs[0].output[-6000:]
        assert time.monotonic() - started < 300, runs[0].output[-6000:]
        time.sleep(0.1)
