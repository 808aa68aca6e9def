"""Results as tables: the paper's columns, the file's order, and what is missing."""

import csv
import html
import pathlib

import pytest

from prompt_tuning_recycling import collect_recycling_results, recycle, report
from prompt_tuning_recycling.evaluation import manifest, metrics_file

from ..conftest import thorough
from .conftest import STEPS, write_metrics

pytestmark = pytest.mark.slow

TASK = "toy_task"


def table(content, kind):
    path = pathlib.Path(content["root_dir"], f"{kind}-toy.tsv")
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def evaluated(config, content, run):
    """A sweep whose every evaluation has written a figure of its own."""
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    figures = {}
    for path in pathlib.Path(content["root_dir"], "manifest-toy").glob("*.json"):
        for entry in manifest.read(path).evaluations:
            figures[entry.output_dir] = len(figures) + 0.5
            write_metrics(
                entry.output_dir,
                TASK,
                {"step": 9, "accuracy": -1.0, "f1": -1.0},
                {
                    "step": 9,
                    "accuracy": figures[entry.output_dir],
                    "f1": 1000 + figures[entry.output_dir],
                },
            )
    for model, inits in content["prompts"].items():
        for init, runs in inits.items():
            for name, folder in runs.items():
                write_metrics(
                    folder,
                    TASK,
                    *({"step": s, "accuracy": 10.0 * s, "f1": 0.0} for s in (0, 5, 10)),
                )
                assert model and init and name
    return figures


def test_the_columns_of_the_papers_code(config, content, run, evaluated, capsys):
    assert run(collect_recycling_results.main, {"config": config}) == 0
    assert "0 results are missing" in capsys.readouterr().out
    training = table(content, "training")
    assert list(training[0]) == ["Model", "Init", "Run", "Step", "Acc"]
    assert len(training) == 3 * 2 * 2 * 2
    assert training[0] == {
        "Model": "Seed 0",
        "Init": "rand-init",
        "Run": "run 1",
        "Step": "5",
        "Acc": "50.0",
    }
    recycling = table(content, "recycling")
    assert list(recycling[0]) == [
        "Recycler",
        "Init",
        "Run",
        "Source Model",
        "Target Model",
        "Step",
        "Acc",
    ]
    assert len(recycling) == 144
    keys = [tuple(row.values())[:-1] for row in recycling]
    assert len(set(keys)) == 144
    # The configuration's order, whatever the file system's.
    assert keys[:3] == [
        ("jax-nn", "rand-init", "run 1", "Seed 0", "Seed 1", "5"),
        ("jax-nn", "rand-init", "run 1", "Seed 0", "Seed 1", "10"),
        ("jax-nn", "rand-init", "run 1", "Seed 0", "Large", "5"),
    ]
    row = keys.index(("tf-lstsq", "class-init", "run 2", "Large", "Seed 1", "10"))
    folder = pathlib.Path(
        content["root_dir"],
        "tf-lstsq/toy/class-init/run_2/eval/recycled_from_Large_at_10_to_Seed_1",
    )
    assert float(recycling[row]["Acc"]) == evaluated[str(folder)]
    baselines = table(content, "baselines")
    assert len(baselines) == 3 * (1 + 2 + 4)
    assert baselines[0]["Baseline"] == "no-prompt"


def test_any_metric(config, content, run, evaluated):
    flags = {"config": config, "metric": "f1"}
    assert run(collect_recycling_results.main, flags) == 0
    recycling = table(content, "recycling")
    assert float(recycling[0]["f1"]) > 1000
    assert "Acc" not in recycling[0]


def test_a_metric_that_there_is_not(config, content, run, evaluated, capsys):
    flags = {"config": config, "metric": "accurracy"}
    assert run(collect_recycling_results.main, flags) == 0
    captured = capsys.readouterr()
    assert "Did you mean accuracy?" in captured.err
    assert f"{144 + 21 + 24} results are missing" in captured.out


def test_the_same_bytes_every_time(config, content, run, evaluated):
    root = pathlib.Path(content["root_dir"])
    assert run(collect_recycling_results.main, {"config": config}) == 0
    before = {path: path.read_bytes() for path in root.glob("*.tsv")}
    assert len(before) == 3
    assert run(collect_recycling_results.main, {"config": config}) == 0
    assert {path: path.read_bytes() for path in root.glob("*.tsv")} == before


def test_what_is_missing_is_said(config, content, run, evaluated, capsys):
    folder = pathlib.Path(
        content["root_dir"],
        "tf-lstsq/toy/class-init/run_2/eval/recycled_from_Large_at_10_to_Seed_1",
        "inference_eval",
        f"{TASK}-metrics.jsonl",
    )
    folder.unlink()
    trained = pathlib.Path(content["prompts"]["Large"]["rand-init"]["run 1"])
    write_metrics(trained, TASK, {"step": STEPS[0], "accuracy": 1.0})
    half = pathlib.Path(content["prompts"]["Large"]["rand-init"]["run 2"])
    (half / "inference_eval" / f"{TASK}-metrics.jsonl").write_text('{"step": 5')
    assert run(collect_recycling_results.main, {"config": config}) == 0
    captured = capsys.readouterr()
    assert "3 results are missing" in captured.out
    assert f"missing: {folder}: No such file" in captured.err
    assert f"no metrics of step {STEPS[1]}" in captured.err
    assert "cannot be read" in captured.err
    assert len(table(content, "recycling")) == 143


NO_NUMBERS = {
    "NaN": '{"step": 9, "accuracy": NaN}\n',
    "null": '{"step": 9, "accuracy": null}\n',
    "infinite": '{"step": 9, "accuracy": -Infinity}\n',
    "beyond floating point": '{"step": 9, "accuracy": 1e400}\n',
    "text": '{"step": 9, "accuracy": "50.0"}\n',
    "boolean": '{"step": 9, "accuracy": true}\n',
    "a list": '{"step": 9, "accuracy": [50.0]}\n',
    "too many digits": '{"step": 9, "accuracy": ' + 5000 * "1" + "}\n",
    "twice": '{"step": 9, "accuracy": 1.0, "accuracy": 2.0}\n',
    "another metric": '{"step": 9, "f1": 50.0}\n',
    "no metric": '{"step": 9}\n',
    "no step": '{"accuracy": 50.0}\n',
    "a step of no number": '{"step": Infinity, "accuracy": 50.0}\n',
    "a step of another kind": '{"step": true, "accuracy": 50.0}\n',
    "no object": "[9, 50.0]\n",
    "deep": 100_000 * "[" + 100_000 * "]" + "\n",
    "not UTF-8": b'{"step": 9, "accuracy": 5, "\xff": 1}\n',
    "empty": "",
    "cut": '{"step": 9, "accuracy": 5',
    "cut before the line's end": '{"step": 9, "accuracy": 5}',
    "cut after a whole record": '{"step": 9, "accuracy": 5}\n{"step": 9',
}


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("NaN", "deep", "empty", "cut") else thorough(name)
        for name in NO_NUMBERS
    ],
)
def test_what_is_no_number_is_missing(config, content, run, evaluated, capsys, name):
    """Of a recycled prompt, a baseline and a tuning run; the others' are there."""
    root = pathlib.Path(content["root_dir"])
    spoiled = [
        metrics_file.place(str(folder), TASK)
        for folder in (
            root / "tf-lstsq/toy/class-init/run_2/eval"
            "/recycled_from_Large_at_10_to_Seed_1",
            root / "baselines/toy/Large/random-1",
        )
    ]
    for path in spoiled:
        data = NO_NUMBERS[name]
        pathlib.Path(path).write_bytes(
            data if isinstance(data, bytes) else data.encode()
        )
    assert run(collect_recycling_results.main, {"config": config}) == 0
    captured = capsys.readouterr()
    assert "2 results are missing" in captured.out
    for path in spoiled:
        assert f"missing: {path}: " in captured.err
    assert len(table(content, "recycling")) == 143
    assert len(table(content, "baselines")) == 20
    assert run(report.main, {"config": config}) == 0
    page = (root / "report-toy.html").read_text()
    assert "<strong>2 results are missing</strong>" in page
    assert all(html.escape(path) in page for path in spoiled)
    assert ">nan<" not in page and ">inf<" not in page


def test_one_step_of_a_tuning_run_that_is_no_number(
    config, content, run, evaluated, capsys
):
    trained = pathlib.Path(content["prompts"]["Large"]["rand-init"]["run 1"])
    records = [{"step": 5, "accuracy": float("nan")}, {"step": 10, "accuracy": 1.0}]
    write_metrics(trained, TASK, *records)
    assert run(collect_recycling_results.main, {"config": config}) == 0
    captured = capsys.readouterr()
    assert "1 results are missing" in captured.out
    assert "finite number, found NaN. (step 5)" in captured.err
    assert len(table(content, "training")) == 23


def test_only_what_is_asked_for(config, content, run, evaluated):
    flags = {"config": config, "training": "false"}
    assert run(collect_recycling_results.main, flags) == 0
    root = pathlib.Path(content["root_dir"])
    assert {path.name for path in root.glob("*.tsv")} == {
        "recycling-toy.tsv",
        "baselines-toy.tsv",
    }


def test_names_of_models_that_the_papers_code_misses(
    content, write_config, run, capsys
):
    """Its pattern knows Large, Default and Seed_N only."""
    renamed = {"Seed 0": "XXL", "Seed 1": "my model_to_7", "Large": "Large"}
    for part in ("pretrained", "prompts"):
        content[part] = {renamed[name]: v for name, v in content[part].items()}
    config = write_config(content)
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    for path in pathlib.Path(content["root_dir"], "manifest-toy").glob("*.json"):
        for entry in manifest.read(path).evaluations:
            write_metrics(entry.output_dir, TASK, {"step": 9, "accuracy": 1.0})
    flags = {"config": config, "training": "false"}
    assert run(collect_recycling_results.main, flags) == 0
    assert "0 results are missing" in capsys.readouterr().out
    models = {row["Source Model"] for row in table(content, "recycling")}
    assert models == set(renamed.values())
