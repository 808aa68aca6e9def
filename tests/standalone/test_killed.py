"""Killed while it tunes: nothing half-written is read, and the run goes on."""

import functools
import json
import pathlib
import signal

import numpy as np
import pytest

from prompt_tuning_recycling.models import open_checkpoint

FIRST, STEPS, PERIOD = 1600, 4, 2
# After which share of its changes a run is killed, one after the other. `make kills`
# kills a shorter run at more points.
KILLED_AT = (0.2, 0.6)
TEMPORARY = ".orbax-checkpoint-tmp"


@pytest.fixture
def start_tuning(tiny, models, tmp_path, start_program):
    """Runs the program in a process of its own, which may kill itself."""
    import killed

    def start(model_dir, kill_at=(None, ""), **macros):
        """Returns the process's exit code, and what it changed in the folder."""
        macros = {
            "MIXTURE_OR_TASK_MODULE": "tiny_tasks",
            "TASK_FEATURE_LENGTHS": {"inputs": 6, "targets": 2},
            "MIXTURE_OR_TASK_NAME": "tiny_train",
            "EVAL_MIXTURE_OR_TASK_NAME": "tiny_ranked",
            "INITIAL_CHECKPOINT_PATH": str(models / "source"),
            "MODEL_DIR": str(model_dir),
            "TRAIN_STEPS_RELATIVE": STEPS,
            "BATCH_SIZE": 16,
            "CHECKPOINT_PERIOD": PERIOD,
            "EVAL_PERIOD": STEPS,
            **macros,
        }
        arguments = [
            f"--gin_file={tiny}",
            "--gin_file=runs/standalone/prompt_finetune.gin",
            *(f"--gin.{name}={value!r}" for name, value in macros.items()),
        ]
        changes = tmp_path / "changes"
        ended = start_program(
            "prompt_tuning_recycling.standalone.train",
            arguments,
            functools.partial(
                killed.list_changes, str(model_dir), str(changes), *kill_at
            ),
        ).end()
        assert ended.code in (0, -signal.SIGKILL), ended.error
        return ended.code, changes.read_text().splitlines()

    return start


@pytest.mark.thorough
def test_killed_at_any_moment_it_ends_like_an_undisturbed_run(start_tuning, tmp_path):
    whole = tmp_path / "whole"
    code, changes = start_tuning(whole, KEEP_CHECKPOINTS=None)
    assert code == 0
    folder, reached, written = tmp_path / "run-0", [], 0
    for kill, share in enumerate(KILLED_AT):
        # Every other time while a checkpoint is written.
        text = TEMPORARY if kill % 2 else ""
        number = int(share * sum(text in change for change in changes))
        code, _ = start_tuning(folder, kill_at=(number, text))
        written += bool(being_written(folder))
        reached.append(assert_nothing_is_half_written(folder, whole))
        if code == 0:
            assert reached[-1] == FIRST + STEPS
            folder = tmp_path / f"run-{kill + 1}"
    # Some were killed while a checkpoint was written, and at different steps.
    assert written > 0
    assert len(set(reached)) > 1
    code, _ = start_tuning(folder)
    assert code == 0
    assert assert_nothing_is_half_written(folder, whole) == FIRST + STEPS
    assert measured(folder)[-1] == measured(whole)[-1]


def being_written(folder):
    return set(folder.glob(f"checkpoint_*{TEMPORARY}*"))


def assert_nothing_is_half_written(folder, whole):
    """All there is equals the undisturbed run's, to the bit. Returns the step."""
    for export in folder.glob("numpy_checkpoints/checkpoint_*/*"):
        expected = whole / export.relative_to(folder)
        assert export.read_bytes() == expected.read_bytes()
    for line in measured(folder):
        assert line in measured(whole)
    complete = [path for path in folder.glob("checkpoint_*") if "." not in path.name]
    if not complete:
        return FIRST
    ours = open_checkpoint(folder)
    theirs = open_checkpoint(whole / pathlib.Path(ours.path).name)
    assert ours.keys() == theirs.keys()
    for name in ours.keys():
        np.testing.assert_array_equal(ours.read(name), theirs.read(name))
    return int(ours.read("state/step"))


def measured(folder):
    path = folder / "inference_eval/tiny_ranked-metrics.jsonl"
    return (
        [json.loads(line) for line in path.read_text().splitlines()]
        if path.exists()
        else []
    )
