"""Links that somebody has put into a shared output folder, and manifests that name
other people's folders: no file elsewhere is written or removed.
"""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recycle, run_recycle
from prompt_tuning_recycling.evaluation import metrics_file
from prompt_tuning_recycling.prompts.prompt import load_record


def plant(files, folder):
    """Puts a link to a new file in the place of each file; returns the new files."""
    folder.mkdir()
    victims = {}
    for number, path in enumerate(files):
        victim = folder / str(number)
        victim.write_text(f"precious {number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
        victims[path] = victim
    return victims


def assert_unharmed(victims):
    for number, victim in enumerate(victims.values()):
        assert victim.read_text() == f"precious {number}"
    assert len(os.listdir(victim.parent)) == len(victims)


def test_run_recycle_replaces_links(files, run, tmp_path):
    files["save_recycler"] = str(tmp_path / "out" / "map")
    output = pathlib.Path(files["output_path"])
    written = [output, pathlib.Path(f"{output}.json"), tmp_path / "out" / "map"]
    victims = plant(written, tmp_path / "elsewhere")
    assert run(run_recycle.main, files) == 0
    assert_unharmed(victims)
    assert not any(path.is_symlink() for path in written)
    assert load_record(output)


def test_links_to_nowhere_are_replaced(files, run, tmp_path):
    """Writing through one would make a file, with a name of somebody's choice."""
    output = pathlib.Path(files["output_path"])
    output.parent.mkdir()
    for path in (output, pathlib.Path(f"{output}.json")):
        path.symlink_to(tmp_path / f"new-{path.name}")
    assert run(run_recycle.main, files) == 0
    assert not list(tmp_path.glob("new-*"))
    assert load_record(output)


def test_a_planted_lock_is_refused(files, run, tmp_path, capsys):
    lock = pathlib.Path(f"{files['output_path']}.lock")
    victims = plant([lock], tmp_path / "elsewhere")
    assert run(run_recycle.main, files) == 1
    assert "cannot write to" in capsys.readouterr().err
    assert_unharmed(victims)


def test_a_sweep_replaces_links(sweep_content, run, tmp_path):
    sweep_content["clobber"] = True
    config = tmp_path / "config.json"
    config.write_text(json.dumps(sweep_content))
    root = pathlib.Path(sweep_content["root_dir"])
    assert run(recycle.main, {"config": str(config)}) == 0
    written = sorted(path for path in root.rglob("*") if path.is_file())
    # Two maps and two prompts with their records, two manifests, the list of flags.
    assert len(written) == 11
    before = {path: path.read_bytes() for path in written if path.suffix != ".json"}
    note = root / ".sweep" / "scheduler.json"
    victims = plant([*written, note], tmp_path / "elsewhere")
    assert run(recycle.main, {"config": str(config)}) == 0
    assert_unharmed(victims)
    assert {path: path.read_bytes() for path in before} == before
    assert not any(path.is_symlink() for path in written)


def test_an_evaluation_does_not_replace_a_link(tmp_path):
    elsewhere, output = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    output.mkdir()
    (elsewhere / "a-metrics.jsonl").write_text("precious")
    (output / "inference_eval").symlink_to(elsewhere)
    with pytest.raises(RecyclingError, match="inference_eval is a link to .*elsewhere"):
        metrics_file.check_replaceable(str(output))
    assert (elsewhere / "a-metrics.jsonl").read_text() == "precious"


def test_metrics_are_not_written_through_links(tmp_path):
    """Seqio writes these files itself, by names that everybody knows."""
    folder = tmp_path / "inference_eval"
    folder.mkdir()
    (folder / "task-metrics.jsonl").write_text("")
    metrics_file.check_no_links(folder)
    metrics_file.check_no_links(tmp_path / "missing")
    (folder / "task-001600.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(RecyclingError, match="task-001600.jsonl is a link to .*victim"):
        metrics_file.check_no_links(folder)


OTHERS = {
    "results of another program": (["inference_eval/thesis.tex"], "thesis.tex"),
    "a training run": (["run_start.json", "config.gin"], "a training run"),
    "a model": (["checkpoint_5/state/_METADATA"], "a training run"),
    "what is left of a training run": (
        ["config.gin", "inference_eval/a-metrics.jsonl", "numpy_checkpoints/x"],
        "a training run",
    ),
    "a program": (["config.gin", "main.py"], "its config.gin is of something else"),
}


@pytest.mark.parametrize("whose", OTHERS)
def test_a_manifest_costs_nobody_anything(tmp_path, whose):
    names, message = OTHERS[whose]
    for name in names:
        path = tmp_path / "theirs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    with pytest.raises(RecyclingError, match=f"cannot evaluate to .*{message}"):
        metrics_file.check_replaceable(str(tmp_path / "theirs"))


EVALUATIONS = {
    "nothing": [],
    "another file": ["notes.txt"],
    "an evaluation": ["config.gin", "inference_eval/a-metrics.jsonl"],
    "one of another prompt": ["inference_eval/evaluated_prompt.json"],
    "one that was stopped": ["config.gin", ".inference_eval.0.tmp/a/events.out.1"],
    "one that was stopped in place": ["config.gin", "inference_eval/a/events.out.1"],
    "one whose metrics were deleted": ["config.gin", "run.lock"],
    "scores": ["config.gin", "unlabeled-scores/train-32-0.json"],
}


@pytest.mark.parametrize("before", EVALUATIONS)
def test_an_earlier_evaluation_is_replaced(tmp_path, before):
    for name in EVALUATIONS[before]:
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    metrics_file.check_replaceable(str(tmp_path / "out"))


def test_a_prompt_that_is_a_link_is_read(files, run, tmp_path):
    """Links of the user's own are followed where they are read."""
    shutil.move(files["prompt_path"], tmp_path / "moved")
    pathlib.Path(files["prompt_path"]).symlink_to(tmp_path / "moved")
    before = np.load(tmp_path / "moved")
    assert run(run_recycle.main, files) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "moved"), before)
