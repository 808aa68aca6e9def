"""Resumed runs: nothing is recycled again, and the source may be gone."""

import shutil
import time

import numpy as np
import pytest
from t5x_results import exported_prompt, stored_prompt

from prompt_tuning_recycling import run_folder
from prompt_tuning_recycling.models import open_checkpoint

FIRST = 40
OURS = {"files": ["target_prompt.gin", "recycle_init.gin", "counted.gin"]}
# Prompt-tuning's model and run file, its own way of putting a prompt in, and an
# optimizer that resumes.
INITIALIZER = {
    "files": [
        "flaxformer_target_prompt.gin",
        "recycle_init.gin",
        "recycle_as_initializer.gin",
        "counted.gin",
        "prompt_tuning/configs/runs/prompt_finetune.gin",
    ],
    "run_file": "runs/t5x/train_prompt_only.gin",
    "USE_CACHED_TASKS": False,
    # Prompt-tuning's run file has no macros for these.
    "CHECKPOINT_PERIOD": ...,
    "KEEP_CHECKPOINTS": ...,
    "flags": [
        "--gin.utils.SaveCheckpointConfig.period=1",
        "--gin.utils.SaveCheckpointConfig.keep=None",
    ],
}


@pytest.mark.parametrize("way", [OURS, INITIALIZER], ids=["restore", "initializer"])
def test_killed_after_a_save_it_goes_on_without_the_source(
    start, recycle, t5x_written, tmp_path, way
):
    source = tmp_path / "source"
    kept = t5x_written / "prompt_orbax/checkpoint_50"
    shutil.copytree(kept, source / "checkpoint_50")
    fits = tmp_path / "fits"
    flags = [*way.get("flags", ()), "--gin.RECYCLER=@recyclers.CountedLinear()"]
    common = {
        **{name: value for name, value in way.items() if name != "flags"},
        "RECYCLE_FROM": str(source),
        "folder": tmp_path / "run",
        "environment": {"FITS": str(fits)},
        "EVAL_PERIOD": 100,
    }
    killed = start("train", *flags, **common, TRAIN_STEPS=FIRST + 1000)
    wait_for(killed, killed.folder / f"checkpoint_{FIRST + 2}")
    killed.process.kill()
    killed.process.join()
    assert fits.read_text().count("\n") == 1
    np.testing.assert_array_equal(stored_prompt(killed.folder, FIRST), recycle())

    shutil.rmtree(source)
    shutil.rmtree(killed.folder / "recycled_prompt", ignore_errors=True)
    last = newest(killed.folder)
    before = stored_prompt(killed.folder, last)
    end = last + 3
    resumed = start("train", *flags, **common, TRAIN_STEPS=end).must_work()
    assert fits.read_text().count("\n") == 1
    assert not (resumed.folder / "recycled_prompt").exists()
    np.testing.assert_array_equal(stored_prompt(resumed.folder, last), before)
    checkpoint = open_checkpoint(resumed.folder / f"checkpoint_{end}")
    assert int(checkpoint.read("state/step")) == end
    # The optimizer has states of the prompt alone, and they go on.
    states = [name for name in checkpoint.keys() if "param_states" in name]
    assert states
    assert all("/encoder/prompt/prompt/prompt/" in name for name in states)
    assert any(np.abs(checkpoint.read(name)).max() > 0 for name in states)
    after = stored_prompt(resumed.folder, end)
    assert np.abs(after - before).max() > 0
    np.testing.assert_array_equal(exported_prompt(resumed.folder, end), after)


def test_legacy_checkpoints_are_exported_and_resumed(start, recycle, t5x_written):
    """Without Orbax T5X reads and writes only these."""
    target = str(t5x_written / "target_legacy/checkpoint_40")
    common = {"last": "legacy.gin", "INITIAL_CHECKPOINT_PATH": target}
    folder = start("train", **common).must_work().folder
    start("train", **common, folder=folder, TRAIN_STEPS=44).must_work()
    for step in range(FIRST, 45):
        assert (folder / f"checkpoint_{step}/checkpoint").is_file()
        prompt = stored_prompt(folder, step)
        np.testing.assert_array_equal(exported_prompt(folder, step), prompt)
    expected = recycle("prompt_orbax", "target_legacy")
    np.testing.assert_array_equal(stored_prompt(folder, FIRST), expected)


@pytest.fixture(scope="module")
def trained(start):
    """A run of a few steps, and its records."""
    folder = start("train").must_work().folder
    names = ("config.gin", "run_start.json", "recycled_prompt/prompt.npy.json")
    return folder, {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"RECYCLER": "lin-comb"}, "recycler"),
        ({"NUM_WORDS": 3999}, "num_words"),
        ({"SOURCE_PROMPT": "/dev/null/absent/p.npy"}, "source_prompt"),
        (
            {"INITIAL_CHECKPOINT_PATH": "{t5x_written}/target_legacy/checkpoint_40"},
            "initial_checkpoint",
        ),
        ({"files": ["target_prompt.gin"]}, "kind"),
    ],
)
def test_it_is_not_resumed_with_something_else(
    start, trained, t5x_written, change, setting
):
    folder, records = trained
    change = {
        name: value.format(t5x_written=t5x_written) if isinstance(value, str) else value
        for name, value in change.items()
    }
    run = start("train", folder=folder, TRAIN_STEPS=FIRST + 4, **change)
    assert run.wait() not in (0, None)
    assert f"but now {setting} is" in run.output
    # What is written there still says what happened.
    assert {name: (folder / name).read_bytes() for name in records} == records
    assert newest(folder) == FIRST + 2


def test_the_same_under_another_spelling_is_resumed(start, trained, t5x_written):
    folder, _ = trained
    source = f"{t5x_written}/../t5x_written/./prompt_orbax/"
    start("train", folder=folder, RECYCLE_FROM=source).must_work()


def test_a_second_run_in_the_same_folder_is_refused(start, trained):
    folder, _ = trained
    with run_folder.held(folder):
        run = start("train", folder=folder)
        assert run.wait() not in (0, None)
    assert "another run is at work in" in run.output


def wait_for(run, folder):
    started = time.monotonic()
    while not folder.exists():
        assert run.process.is_alive(), run.output[-6000:]
        assert time.monotonic() - started < 300, run.output[-6000:]
        time.sleep(0.05)


def newest(folder):
    return max(
        int(path.name.removeprefix("checkpoint_"))
        for path in folder.glob("checkpoint_*")
        if "." not in path.name
    )
