"""`evaluate_prompts`: what separate jobs would have written, in one job."""

import json
import os
import pathlib
import signal

import numpy as np
import pytest

from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.models import open_model

from ..conftest import (
    DEMO_MODELS,
    IMPORTABLE,
    write_tiny_model,
)
from ..programs import stop_at

pytestmark = pytest.mark.slow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TASK = "review_both"
METRICS = ("review_ranked-metrics.jsonl", "review_decoded-metrics.jsonl")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The tests' tasks, where a user's would be: in the folder one works in."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    monkeypatch.setenv("PYTHONPATH", str(IMPORTABLE), prepend=os.pathsep)


@pytest.fixture
def model(tmp_path):
    """A model file with a prompt of 5, and one without."""

    return {
        "prompt": str(write_tiny_model(tmp_path / "prompt.gin", 5)),
        "none": str(write_tiny_model(tmp_path / "none.gin", 0)),
    }


@pytest.fixture
def listed(tmp_path):
    """A manifest's evaluations: prompts of the model's own words, and baselines."""
    table = open_model(DEMO_MODELS / "source").embeddings.read()
    rng = np.random.default_rng(0)
    found = [
        Evaluation(str(tmp_path / "out/none"), no_prompt=True),
        Evaluation(str(tmp_path / "out/random"), random_prompt=3),
    ]
    for number in range(3):
        path = tmp_path / f"prompt-{number}"
        with path.open("wb") as file:
            np.save(file, table[rng.integers(3, 500, 5)].astype(np.float32))
        found.append(Evaluation(str(tmp_path / f"out/{number}"), prompt=str(path)))
    return found


def flags(files, **macros):
    macros = {
        "INITIAL_CHECKPOINT_PATH": str(DEMO_MODELS / "source"),
        "MIXTURE_OR_TASK_NAME": TASK,
        "MIXTURE_OR_TASK_MODULE": "review_tasks",
        "TASK_FEATURE_LENGTHS": {"inputs": 6, "targets": 2},
        "BATCH_SIZE": 16,
        **macros,
    }
    return [f"--gin_file={file}" for file in files] + [
        f"--gin.{name}={value!r}" for name, value in macros.items()
    ]


@pytest.fixture
def arguments(tmp_path, model, listed):
    manifest.write(tmp_path / "manifest.json", listed)
    return flags(
        [model["prompt"], "runs/standalone/evaluate_prompts.gin"],
        PROMPT_MANIFEST=str(tmp_path / "manifest.json"),
    )


def evaluate_prompts(arguments):
    from prompt_tuning_recycling.standalone import evaluate_prompts

    return evaluate_prompts.main(arguments)


def metrics(output_dir):
    folder = pathlib.Path(output_dir, "inference_eval")
    return {name: (folder / name).read_text() for name in METRICS}


@pytest.mark.thorough
def test_what_separate_jobs_would_have_written(
    tmp_path, model, listed, arguments, capfd
):
    from prompt_tuning_recycling.standalone import eval as evaluate

    assert evaluate_prompts(arguments) == 0, capfd.readouterr().err
    assert "5 of 5: " in capfd.readouterr().out
    run = "runs/standalone/eval.gin"
    alone = str(tmp_path / "alone")
    separate = {
        "none": flags([model["none"], run], EVAL_OUTPUT_DIR=f"{alone}/none"),
        "random": flags(
            [model["prompt"], run, "prompts/from_sampled_vocab.gin"],
            EVAL_OUTPUT_DIR=f"{alone}/random",
            PROMPT_SEED=3,
        ),
        **{
            str(number): flags(
                [model["prompt"], run, "prompts/from_file.gin"],
                EVAL_OUTPUT_DIR=f"{alone}/{number}",
                PROMPT_FILE=str(tmp_path / f"prompt-{number}"),
            )
            for number in range(3)
        },
    }
    assert len(separate) == len(listed)
    for name, command in separate.items():
        assert evaluate.main(command) == 0, capfd.readouterr().err
        together = pathlib.Path(tmp_path, "out", name)
        files = {p.name for p in pathlib.Path(alone, name).rglob("*")}
        stable = {name for name in files if "tfevents" not in name}
        if name.isdigit():  # Which prompt in a file it was; see metrics_file.
            stable.add("evaluated_prompt.json")
        assert {p.name for p in together.rglob("*") if "tfevents" not in p.name} == (
            stable
        )
        assert len(list(together.rglob("*tfevents*"))) == 2
        for path in pathlib.Path(alone, name, "inference_eval").glob("*.jsonl"):
            written = together / "inference_eval" / path.name
            assert written.read_bytes() == path.read_bytes(), (name, path.name)
    assert len({json.dumps(metrics(entry.output_dir)) for entry in listed}) > 1


@pytest.mark.slow
@pytest.mark.thorough
def test_the_model_is_compiled_once(listed, arguments, monkeypatch):
    from prompt_tuning_recycling.standalone import model as models

    before = models._score._cache_size(), models._predict._cache_size()
    assert evaluate_prompts(arguments) == 0
    # With a prompt, and without.
    after = models._score._cache_size(), models._predict._cache_size()
    assert after[0] - before[0] <= 2
    assert after[1] - before[1] <= 2


@pytest.mark.slow
def test_it_goes_on_where_it_stopped(tmp_path, listed, arguments, capfd):
    assert evaluate_prompts(arguments) == 0
    gone = pathlib.Path(listed[3].output_dir, "inference_eval", METRICS[0])
    cut = pathlib.Path(listed[4].output_dir, "inference_eval", METRICS[1])
    before = [metrics(entry.output_dir) for entry in listed]
    others = {
        entry.output_dir: os.stat(
            pathlib.Path(entry.output_dir, "inference_eval")
        ).st_mtime_ns
        for entry in listed
        if entry not in listed[3:]
    }
    gone.unlink()
    os.truncate(cut, cut.stat().st_size - 1)
    capfd.readouterr()
    assert evaluate_prompts(arguments) == 0
    out = capfd.readouterr().out
    assert "3 of 5 were evaluated before" in out
    assert "2 of 2: " in out
    assert [metrics(entry.output_dir) for entry in listed] == before
    for folder, when in others.items():
        now = os.stat(pathlib.Path(folder, "inference_eval")).st_mtime_ns
        assert now == when
    assert evaluate_prompts(arguments) == 0
    assert "5 of 5 were evaluated before" in capfd.readouterr().out


@pytest.mark.thorough
def test_a_prompt_that_has_changed_is_evaluated_again(listed, arguments, capfd):
    assert evaluate_prompts(arguments) == 0
    before = {entry.output_dir: metrics(entry.output_dir) for entry in listed}
    changed = listed[-1]
    worse = -5 * np.load(changed.prompt)
    with open(changed.prompt, "wb") as file:
        np.save(file, worse)
    capfd.readouterr()
    assert evaluate_prompts(arguments) == 0
    out = capfd.readouterr().out
    assert "4 of 5 were evaluated before" in out
    assert f"1 of 1: {changed.output_dir}" in out
    for entry in listed:
        same = metrics(entry.output_dir) == before[entry.output_dir]
        assert same == (entry is not changed)
    assert evaluate_prompts(arguments) == 0
    assert "5 of 5 were evaluated before" in capfd.readouterr().out


def test_what_fails_is_reported_and_the_rest_is_done(
    tmp_path, listed, arguments, capfd
):
    pathlib.Path(listed[2].prompt).unlink()
    with open(listed[3].prompt, "wb") as file:
        np.save(file, np.ones((7, 64), np.float32))
    assert evaluate_prompts(arguments) == 1
    captured = capfd.readouterr()
    assert "prompt-0 does not exist" in captured.err
    assert "prompt-1 has 7 vectors, but the model expects 5" in captured.err
    assert "2 of 5 evaluations failed" in captured.err
    for entry in (listed[0], listed[1], listed[4]):
        assert metrics(entry.output_dir)
    for entry in (listed[2], listed[3]):
        assert not pathlib.Path(entry.output_dir, "inference_eval").exists()


def test_a_task_without_metrics(arguments, listed, capfd):
    arguments.append("--gin.MIXTURE_OR_TASK_NAME='review_silent'")
    assert evaluate_prompts(arguments) == 1
    captured = capfd.readouterr()
    assert "review_silent has no metrics" in captured.err
    assert "were evaluated before" not in captured.out
    assert not pathlib.Path(listed[0].output_dir).exists()


def test_a_model_without_a_place_for_prompts(model, arguments, capfd):
    arguments[0] = f"--gin_file={model['none']}"
    assert evaluate_prompts(arguments) == 1
    assert "the model has no prompt" in capfd.readouterr().err


MODULE = "prompt_tuning_recycling.standalone.evaluate_prompts"


@pytest.fixture
def many(request, tmp_path, listed):
    for number in range(request.param):
        listed.append(
            Evaluation(str(tmp_path / f"out/r{number}"), random_prompt=number)
        )
    return listed


@pytest.mark.thorough
@pytest.mark.parametrize("many", [4], indirect=True)
def test_two_jobs_on_one_manifest(many, arguments, start_program):
    jobs = [start_program(MODULE, arguments) for _ in range(2)]
    ended = [job.end() for job in jobs]
    assert [job.code for job in ended] == [0, 0], ended
    evaluated = [
        line.split(": ")[1]
        for job in ended
        for line in job.out.splitlines()
        if " of " in line and line[0].isdigit() and "before" not in line
    ]
    # Two lines for each, one a task; each evaluation by one of the jobs only.
    assert sorted(evaluated) == sorted(2 * [entry.output_dir for entry in many])


@pytest.mark.thorough
@pytest.mark.parametrize("many", [4], indirect=True)
def test_killed_and_started_again(many, arguments, start_program):
    """As an evaluation begins to be written, and when it is whole but not in place."""
    seen = {}
    whole = "/inference_eval"
    made = "/.inference_eval."
    points = (("os.mkdir", 2, made), ("os.rename", 3, whole))
    for event, number, name in points:
        stop = stop_at("kill", event, number, name)
        job = start_program(MODULE, arguments, stop).end()
        assert job.code == -signal.SIGKILL, job.error
        now = written(many)
        assert {folder: now[folder] for folder in seen} == seen
        assert len(now) == len(seen) + number - 1
        seen = now
    assert evaluate_prompts(arguments) == 0
    now = written(many)
    assert len(now) == len(many)
    assert {folder: now[folder] for folder in seen} == seen
    for entry in many:
        assert metrics(entry.output_dir)
        assert not list(pathlib.Path(entry.output_dir).glob(".*"))


def written(listed):
    """Finished evaluations, and when they were."""
    folders = [pathlib.Path(entry.output_dir, "inference_eval") for entry in listed]
    return {path: path.stat().st_mtime_ns for path in folders if path.exists()}
