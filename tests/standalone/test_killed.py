"""Killed while it tunes: nothing half-written is read, and the run goes on."""

import json
import multiprocessing
import os
import pathlib
import random
import time

import numpy as np
import pytest

from prompt_tuning_recycling import open_checkpoint

HERE = pathlib.Path(__file__).resolve().parent
FIRST, STEPS, PERIOD = 1600, 20, 2
KILLS = 20
PROMPT = "target/encoder/prompt/prompt/prompt"


@pytest.fixture
def start_tuning(tiny, models, tmp_path, monkeypatch):
    """Starts a run in a process of its own."""
    # Compiled once for all the processes.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # For the server, which imports before it is told of sys.path.
    paths = [str(HERE / "importable"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tuning"])
    import tuning

    def start(model_dir, **macros):
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
            "EVAL_PERIOD": 5 * PERIOD,
            **macros,
        }
        arguments = [
            f"--gin_file={tiny}",
            "--gin_file=runs/standalone/prompt_finetune.gin",
            *(f"--gin.{name}={value!r}" for name, value in macros.items()),
        ]
        process = context.Process(
            target=tuning.run, args=(arguments, str(tmp_path / "log"))
        )
        process.start()
        return process

    return start


def test_killed_at_random_moments_it_ends_like_an_undisturbed_run(
    start_tuning, tmp_path
):
    rng = random.Random(0)
    for warm in ("warm", "whole"):
        whole = tmp_path / warm
        started = time.monotonic()
        process = start_tuning(whole, KEEP_CHECKPOINTS=None)
        process.join()
        seconds = time.monotonic() - started
        assert process.exitcode == 0, (tmp_path / "log").read_text()
    folder, reached, written = tmp_path / "run-0", [], 0
    for kill in range(KILLS):
        process = start_tuning(folder)
        if kill % 2:
            time.sleep(rng.uniform(0, seconds))
        else:
            wait_until_writing(process, folder, rng.randrange(1, 4))
            time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.join()
        written += bool(being_written(folder))
        reached.append(assert_nothing_is_half_written(folder, whole))
        if reached[-1] == FIRST + STEPS:
            folder = tmp_path / f"run-{kill + 1}"
    # Some were killed while a checkpoint was written, and at steps all over the run.
    assert written > 3
    assert len(set(reached)) > 3
    process = start_tuning(folder)
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text()
    assert assert_nothing_is_half_written(folder, whole) == FIRST + STEPS
    assert measured(folder)[-1] == measured(whole)[-1]


def being_written(folder):
    return set(folder.glob("checkpoint_*.orbax-checkpoint-tmp*"))


def wait_until_writing(process, folder, checkpoint):
    """Waits until so many checkpoints have begun to be written since its start."""
    seen, known = set(), being_written(folder)
    while process.is_alive() and len(seen) < checkpoint:
        time.sleep(0.001)
        seen |= being_written(folder) - known


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
