"""A run's folder: what a run that goes on is compared with, and one run at a time."""

import json
import os
import subprocess
import sys

import pytest

from prompt_tuning_recycling import RecyclingError, run_folder
from prompt_tuning_recycling.initial_prompts import FromFile, RandomUniform

ENCODER = "encoder/prompt/prompt/prompt"


# The start of a training run


@pytest.fixture
def start(files):
    kinds = {ENCODER: FromFile(files["prompt_path"])}
    return run_folder.Start.of(40, files["target_model"], kinds, seed=1)


def test_a_start_is_read_back(start, tmp_path):
    assert run_folder.read_start(tmp_path) is None
    run_folder.write_start(tmp_path, start)
    assert run_folder.read_start(tmp_path) == start


def test_a_run_that_is_started_as_before_goes_on(start, files):
    start.check(files["target_model"], FromFile(files["prompt_path"]), None, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "/other"}, "initial_checkpoint .* but now .*'/other'"),
        ({"checkpoint": None}, "initial_checkpoint .* but now .* None"),
        ({"declared": FromFile("/p.npy")}, "path .* but now path is '/p.npy'"),
        ({"declared": RandomUniform()}, "kind 'FromFile', but now .*'RandomUniform'"),
        ({"declared": None}, "kind 'FromFile', but now .*own prompt"),
        (
            {"declared": None, "default": RandomUniform()},
            "kind 'FromFile', but now .*'RandomUniform'",
        ),
        ({"seed": 2}, "seed 1, but now seed is 2"),
    ],
)
def test_a_run_that_is_started_otherwise_is_refused(start, files, change, message):
    now = {
        "checkpoint": files["target_model"],
        "declared": FromFile(files["prompt_path"]),
        "default": None,
        "seed": 1,
        **change,
    }
    with pytest.raises(RecyclingError, match=message) as error:
        start.check(**now)
    assert "choose another MODEL_DIR" in str(error.value)


def test_a_prompt_out_of_the_checkpoint_needs_no_default(files):
    start = run_folder.Start.of(40, files["target_model"], {})
    start.check(files["target_model"], None, RandomUniform(seed=5))
    with pytest.raises(RecyclingError, match="own prompt.*but now kind is 'Random"):
        start.check(files["target_model"], RandomUniform(seed=5), None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "3",
        "{",
        '{"step": 3}',
        '{"format": "other"}',
        '{"format": "prompt_tuning_recycling/run/1", "step": 3}',
        '{"format": "prompt_tuning_recycling/run/1", "step": 3, '
        '"initial_checkpoint": null, "initial_prompt": []}',
    ],
)
def test_a_damaged_start_is_reported(start, tmp_path, content):
    run_folder.write_start(tmp_path, start)
    (tmp_path / "run_start.json").write_text(content)
    with pytest.raises(RecyclingError, match="cannot go on with the run"):
        run_folder.read_start(tmp_path)


def test_a_start_is_json_that_others_can_read(start, tmp_path, files):
    run_folder.write_start(tmp_path, start)
    record = json.loads((tmp_path / "run_start.json").read_text())
    assert record["step"] == 40
    assert record["initial_checkpoint"]["path"] == os.path.realpath(
        files["target_model"]
    )
    assert record["initial_prompt"][ENCODER]["kind"] == "FromFile"


# One run at a time

HOLD = """
import sys
from prompt_tuning_recycling import run_folder
with run_folder.held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the run's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_is_held_by_one_process(holder, tmp_path):
    held = run_folder.held(tmp_path / "run")
    with pytest.raises(RecyclingError, match="another run is at work in"), held:
        pass


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_process_that_has_ended_holds_nothing(holder, tmp_path, how):
    getattr(holder, how)()
    holder.wait()
    with run_folder.held(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    held = run_folder.held(tmp_path / "file/run")
    with pytest.raises(RecyclingError, match="cannot write to .*file/run"), held:
        pass
