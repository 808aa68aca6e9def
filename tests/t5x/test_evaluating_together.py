"""`evaluate_prompts` on two processes: process 0 reads, claims and writes, both run the
model.
"""

import json
import pathlib
import time

import numpy as np
import pytest
from t5x_processes import SHARED_MODEL, start_both
from t5x_results import witnessed

from prompt_tuning_recycling.evaluation import manifest, scores_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.files import holding

LENGTH, WIDTH = 8, 24
DRAWING = Drawing(12, "train", 5)
COMMON = {"files": ["target_prompt.gin"], "MIXTURE_OR_TASK_NAME": "even_or_odd_ranked"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes a manifest and its prompts, one of the wrong length, to a new folder."""

    def written(name):
        folder = tmp_path_factory.mktemp(name)
        rng = np.random.default_rng(0)
        for name, length in (("p", LENGTH), ("short_p", LENGTH - 1), ("q", LENGTH)):
            with (folder / name).open("wb") as file:
                np.save(file, 3 * rng.normal(size=(length, WIDTH)).astype(np.float32))
        manifest.write(
            folder / "manifest.json",
            [
                Evaluation(str(folder / "one"), prompt=str(folder / "p")),
                Evaluation(str(folder / "short"), prompt=str(folder / "short_p")),
                Evaluation(str(folder / "random"), random_prompt=3),
                Evaluation(str(folder / "none"), no_prompt=True),
                Evaluation(
                    str(folder / "scored"), prompt=str(folder / "q"), scores_only=True
                ),
            ],
            [DRAWING],
        )
        return folder / "manifest.json"

    return written


def found(path):
    """The metrics and the scores of all evaluations of a manifest."""
    results = {}
    for folder in filter(pathlib.Path.is_dir, path.parent.iterdir()):
        for written in folder.glob("inference_eval/*.jsonl"):
            lines = [json.loads(line) for line in written.read_text().splitlines()]
            if written.name.endswith("-metrics.jsonl"):
                (results[f"{folder.name}'s metrics"],) = lines
            else:
                examples = np.array([line["score"] for line in lines])
                results[f"{folder.name}'s examples"] = examples
        for scores in folder.glob("unlabeled-scores/*"):
            rows = scores_file.read(scores).rows
            results[f"{folder.name}'s scores"] = np.concatenate(rows)
    return results


@pytest.fixture(scope="module")
def alone(start, written):
    """What one process finds."""
    path = written("alone")
    assert start("evaluate_prompts", folder=path, **COMMON).wait() == 1
    return found(path)


def check(path, alone):
    results = found(path)
    assert sorted(results) == sorted(alone)
    arrays = [one for one in results.values() if isinstance(one, np.ndarray)]
    assert len({array.tobytes() for array in arrays}) == len(arrays) == 5
    for name, result in results.items():
        assert result == pytest.approx(alone[name], rel=1e-4), name


def test_a_part_of_the_examples_in_each(start, written, alone, tmp_path):
    """Ended by SIGTERM where another job has one of the evaluations; started again."""
    path, witness = written("examples"), tmp_path / "witness"
    common = {**COMMON, "folder": path, "environment": {"WITNESS": str(witness)}}
    lock = path.parent / "one" / "run.lock"
    with holding.held(lock, "a test is at work", "Wait until it ends."):
        runs = start_both(
            start,
            "evaluate_prompts",
            through_ours=["--heartbeat_timeout=10"],
            **common,
        )
        wait_for(runs, pathlib.Path(scores_file.place(path.parent / "scored", DRAWING)))
        assert list((path.parent / "one").iterdir()) == [lock]
        runs[1].process.terminate()
        codes = [run.wait(60) for run in runs]
        assert not {0, None} & set(codes), [run.output for run in runs]
    assert {int(rows) for rows in witnessed(witness)["rows"].values()} == {32128}

    runs = start_both(start, "evaluate_prompts", **common)
    assert [run.wait() for run in runs] == [1, 1], [run.output for run in runs]
    check(path, alone)
    for run in runs:
        assert "error: 1 of 5 evaluations failed" in run.output
    assert "3 of 5 were evaluated before" in runs[0].output
    assert "has 7 vectors, but the model expects 8" in runs[0].output
    assert "1 of 2: " in runs[0].output
    assert "1 of 2: " not in runs[1].output


def test_a_part_of_the_model_in_each(start, written, alone, tmp_path):
    path, witness = written("model"), tmp_path / "witness"
    runs = start_both(
        start,
        "evaluate_prompts",
        *SHARED_MODEL,
        folder=path,
        environment={"WITNESS": str(witness)},
        **COMMON,
    )
    assert [run.wait() for run in runs] == [1, 1], [run.output for run in runs]
    check(path, alone)
    assert {int(rows) for rows in witnessed(witness)["rows"].values()} == {16064}


def wait_for(runs, path):
    started = time.monotonic()
    while not path.exists():
        assert all(run.process.is_alive() for run in runs), runs[0].output[-6000:]
        assert time.monotonic() - started < 300, runs[0].output[-6000:]
        time.sleep(0.1)
