"""Prompts' scores on unlabeled inputs, which come with their evaluation."""

import json
import os
import pathlib
import shutil
import signal

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.evaluation import manifest, scores_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.evaluation.scores_file import Drawing, Scores
from prompt_tuning_recycling.files.temporary import temporary_folder
from prompt_tuning_recycling.models import open_model

from ..conftest import (
    DEMO_MODELS,
    IMPORTABLE,
    write_tiny_model,
)
from ..programs import stop_at

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The whole of the split, so that metrics can be compared with scores.
WHOLE = Drawing(42, "test", 0)
FEW = Drawing(4, "train", 7)


def test_what_is_written_is_read(tmp_path):
    path = scores_file.place(str(tmp_path), WHOLE)
    rows = [np.array([-0.5, np.nan]), np.array([-np.inf])]
    scores_file.write(path, Scores(rows, {"task": "ä"}, "abc", False))
    read = scores_file.read(path)
    assert [row.tolist() for row in read.rows[1:]] == [[-np.inf]]
    assert read.rows[0][0] == -0.5 and np.isnan(read.rows[0][1])
    assert (read.sizes, read.origin, read.digest) == ([2, 1], {"task": "ä"}, "abc")
    assert read.has_same_choices is False


def test_each_drawing_has_a_file_of_its_own():
    drawings = [WHOLE, FEW, Drawing(42, "test", 1), Drawing(4, "test", 0)]
    assert len({scores_file.place("a", drawing) for drawing in drawings}) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-3],
        lambda text: "[]",
        lambda text: text.replace("scores/1", "scores/2"),
        lambda text: text.replace("[[-0.5]]", "[]"),
        lambda text: text.replace("[[-0.5]]", "[[]]"),
        lambda text: text.replace("[[-0.5]]", "[-0.5]"),
        lambda text: text.replace("-0.5", '"x"'),
        lambda text: text.replace('"abc"', "3"),
        lambda text: text.replace("true", "1"),
    ],
)
def test_a_file_that_is_not_whole(tmp_path, damage):
    path = tmp_path / "s.json"
    scores_file.write(path, Scores([np.array([-0.5])], {}, "abc", True))
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecyclingError, match=f"^{path}: cannot be read"):
        scores_file.read(path)
    with pytest.raises(RecyclingError, match=f"^{tmp_path}/t.json: No such file"):
        scores_file.read(tmp_path / "t.json")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(IMPORTABLE)
    monkeypatch.setenv("PYTHONPATH", str(IMPORTABLE), prepend=os.pathsep)


@pytest.fixture
def listed(tmp_path):
    """Prompts of the model's own words to evaluate, and one to score only."""
    table = open_model(DEMO_MODELS / "source").embeddings.read()
    rng = np.random.default_rng(0)
    found = [Evaluation(str(tmp_path / "out/none"), no_prompt=True)]
    for number in range(3):
        path = tmp_path / f"prompt-{number}"
        with path.open("wb") as file:
            np.save(file, table[rng.integers(3, 500, 5)].astype(np.float32))
        folder = str(tmp_path / f"out/{number}")
        found.append(Evaluation(folder, prompt=str(path), scores_only=number == 2))
    return found


@pytest.fixture
def arguments(tmp_path):
    macros = {
        "INITIAL_CHECKPOINT_PATH": str(DEMO_MODELS / "source"),
        "MIXTURE_OR_TASK_NAME": "tiny_both",
        "MIXTURE_OR_TASK_MODULE": "tiny_tasks",
        "TASK_FEATURE_LENGTHS": {"inputs": 6, "targets": 2},
        "BATCH_SIZE": 16,
        "PROMPT_MANIFEST": str(tmp_path / "m.json"),
    }
    model = str(write_tiny_model(tmp_path / "prompt.gin", 5))
    return [
        f"--gin_file={model}",
        "--gin_file=runs/standalone/evaluate_prompts.gin",
        *(f"--gin.{name}={value!r}" for name, value in macros.items()),
    ]


def evaluate_prompts(arguments):
    from prompt_tuning_recycling.standalone import evaluate_prompts

    return evaluate_prompts.main(arguments)


def scores(entry, drawing=WHOLE):
    return scores_file.read(scores_file.place(entry.output_dir, drawing))


def accuracy(entry):
    folder = pathlib.Path(entry.output_dir, "inference_eval")
    return json.loads((folder / "tiny_ranked-metrics.jsonl").read_text())["accuracy"]


@pytest.fixture
def counted(monkeypatch):
    """How often a model is loaded, evaluated and scored."""
    from prompt_tuning_recycling.standalone import prompt_evaluation

    found = {"loaded": 0, "evaluated": 0, "scored": 0}

    def count(what, cls, name):
        real = getattr(cls, name)

        def counting(*arguments):
            found[what] += 1
            return real(*arguments)

        monkeypatch.setattr(cls, name, counting)

    target = prompt_evaluation._Target
    for what, name in zip(found, ("__init__", "evaluate", "score"), strict=True):
        count(what, target, name)
    return found


@pytest.mark.slow
def test_scores_are_those_by_which_the_task_ranks(tmp_path, listed, arguments, capfd):
    from tiny_tasks import LABELS, reviews

    manifest.write(tmp_path / "m.json", listed, [WHOLE, FEW])
    assert evaluate_prompts(arguments) == 0, capfd.readouterr().err
    _, labels = reviews("test")
    for entry in listed[1:3]:
        best = [LABELS[int(np.argmax(row))] for row in scores(entry).rows]
        right = np.mean([b == label for b, label in zip(best, labels, strict=True)])
        assert accuracy(entry) == pytest.approx(100 * right)
    # The model is its own teacher: only scored, and on the same inputs.
    folder = pathlib.Path(listed[3].output_dir)
    assert {path.name for path in folder.iterdir()} == {"unlabeled-scores"}
    for drawing, size in ((WHOLE, 42), (FEW, 4)):
        found = [scores(entry, drawing) for entry in listed[1:]]
        assert len({one.digest for one in found}) == 1
        assert all(one.sizes == [2] * size for one in found)
        assert all(one.has_same_choices for one in found)
        assert found[0].origin["split"] == drawing.split
        assert len({np.concatenate(one.rows).tobytes() for one in found}) == 3
    assert not pathlib.Path(listed[0].output_dir, "unlabeled-scores").exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_nothing_is_done_twice(tmp_path, listed, arguments, counted, capfd):
    manifest.write(tmp_path / "m.json", listed[:3])
    assert evaluate_prompts(arguments) == 0
    assert counted == {"loaded": 1, "evaluated": 3, "scored": 0}
    # Scores are wanted now as well.
    manifest.write(tmp_path / "m.json", listed, [FEW])
    assert evaluate_prompts(arguments) == 0
    assert counted == {"loaded": 2, "evaluated": 3, "scored": 3}
    before = [scores(entry, FEW).rows for entry in listed[1:]]
    assert evaluate_prompts(arguments) == 0
    assert counted == {"loaded": 2, "evaluated": 3, "scored": 3}
    assert "4 of 4 were evaluated before" in capfd.readouterr().out
    cut = scores_file.place(listed[1].output_dir, FEW)
    os.truncate(cut, os.stat(cut).st_size - 2)
    assert evaluate_prompts(arguments) == 0
    assert counted == {"loaded": 3, "evaluated": 3, "scored": 4}
    # Metrics alone are missing now.
    shutil.rmtree(pathlib.Path(listed[2].output_dir, "inference_eval"))
    assert evaluate_prompts(arguments) == 0
    assert counted == {"loaded": 4, "evaluated": 4, "scored": 4}
    after = [scores(entry, FEW).rows for entry in listed[1:]]
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("task", "drawing", "expected"),
    [
        ("tiny_both", Drawing(4, "trian"), "has no split 'trian'"),
        ("tiny_generated", FEW, "tiny_generated has no choices to rank"),
    ],
)
def test_inputs_that_cannot_be_scored_are_said_before_the_model_is_loaded(
    tmp_path, listed, arguments, counted, capfd, task, drawing, expected
):
    manifest.write(tmp_path / "m.json", listed, [drawing])
    arguments.append(f"--gin.MIXTURE_OR_TASK_NAME={task!r}")
    assert evaluate_prompts(arguments) == 1
    assert expected in capfd.readouterr().err
    assert not any(counted.values())


@pytest.mark.thorough
def test_killed_between_metrics_and_scores(
    tmp_path, listed, arguments, start_program, capfd
):
    manifest.write(tmp_path / "m.json", listed, [FEW])
    killed = start_program(
        "prompt_tuning_recycling.standalone.evaluate_prompts",
        arguments,
        stop_at("kill", "os.rename", 2, "unlabeled-scores"),
    ).end()
    assert killed.code == -signal.SIGKILL, killed.error
    evaluated = pathlib.Path(listed[2].output_dir, "inference_eval")
    when = evaluated.stat().st_mtime_ns
    assert scores(listed[1], FEW)
    with pytest.raises(RecyclingError, match="No such file"):
        scores(listed[2], FEW)
    # As if it had been killed while it removed older metrics.
    with temporary_folder(evaluated) as name:
        left = pathlib.Path(name)
    left.mkdir()
    assert evaluate_prompts(arguments) == 0
    assert not left.exists()
    assert "2 of 4 were evaluated before" in capfd.readouterr().out
    assert evaluated.stat().st_mtime_ns == when
    assert all(scores(entry, FEW) for entry in listed[1:])
