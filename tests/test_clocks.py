"""Clocks that differ by an hour, between machines or between a machine and its files:
nothing is decided by comparing times.
"""

import ast
import os
import pathlib
import time

import numpy as np
import pytest

import prompt_tuning_recycling
from prompt_tuning_recycling import open_model, recycle
from prompt_tuning_recycling.files import holding
from prompt_tuning_recycling.files.holding import Holder, held, taken_over

from .conftest import EMBEDDING

PACKAGE = pathlib.Path(prompt_tuning_recycling.__file__).parent
# What asks a clock that machines do not share, or a file for the time on it.
ASKS = {"time", "time_ns", "gmtime", "localtime", "now", "utcnow", "today"}
ASKS |= {"st_mtime", "st_mtime_ns", "st_ctime", "st_ctime_ns", "st_atime", "mtime"}
ASKS |= {"getmtime", "getctime", "mtime_ns"}
# Two write a time for people, or because Orbax's format has a place for it. The third
# asks whether a file that this process has just written is another than before.
SHOWN = {
    "files/holding.py": {"gmtime"},
    "files/staging.py": {"st_mtime_ns"},
    "models/formats/orbax_writing.py": {"time_ns"},
}
HOUR = 3600


def test_what_asks_for_the_time_only_shows_it():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ASKS:
                found.setdefault(name, set()).add(node.attr)
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("time", "datetime"), name
    assert found == SHOWN


def set_times(folder, by):
    """As if the files were written by a machine whose clock differs."""
    for path in pathlib.Path(folder).rglob("*"):
        os.utime(path, (time.time() + by,) * 2)


def test_what_a_sweep_has_done_stays_done(
    sweep_content, sweep_config, tmp_path, run, capsys
):
    assert run(recycle.main, {"config": str(sweep_config)}) == 0
    assert "2 prompts recycled by 2 newly" in capsys.readouterr().out
    for outputs, inputs in ((-HOUR, HOUR), (HOUR, -HOUR)):
        set_times(sweep_content["root_dir"], outputs)
        set_times(tmp_path / "tuned", inputs)
        assert run(recycle.main, {"config": str(sweep_config)}) == 0
        assert "0 prompts recycled by 0 newly" in capsys.readouterr().out


def test_a_prompt_that_was_tuned_again_is_noticed(
    sweep_config, tmp_path, run, capsys, rng
):
    """Even if, by its time, it is older than what was made of it."""
    assert run(recycle.main, {"config": str(sweep_config)}) == 0
    (tuned,) = (tmp_path / "tuned" / "a").rglob("encoder*")
    with tuned.open("wb") as file:
        np.save(file, rng.normal(size=(2, 6)).astype(np.float32))
    set_times(tmp_path / "tuned", -HOUR)
    capsys.readouterr()
    assert run(recycle.main, {"config": str(sweep_config)}) == 0
    assert "1 prompts recycled by 0 newly" in capsys.readouterr().out


def test_the_newest_step_has_the_highest_number(tmp_path, write_legacy, source_table):
    for step, by in ((5, HOUR), (10, 0), (9, 2 * HOUR)):
        write_legacy(tmp_path / f"checkpoint_{step}", {EMBEDDING: source_table})
        set_times(tmp_path / f"checkpoint_{step}", by)
        os.utime(tmp_path / f"checkpoint_{step}", (time.time() + by,) * 2)
    assert open_model(tmp_path).path.name == "checkpoint_10"


@pytest.mark.parametrize("by", [-HOUR, HOUR, 10 * 365 * 24 * HOUR])
def test_a_holder_from_another_time(tmp_path, by):
    """Whether one is at work is not told by how long ago it began."""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time.time() + by))
    left = Holder("elsewhere", 7, "train", since, "token")
    for hold in (held, taken_over):
        (tmp_path / holding.LOCK).write_bytes(left.to_bytes())
        set_times(tmp_path, by)
        with hold(tmp_path / holding.LOCK, "another run is at work", "Wait.") as one:
            set_times(tmp_path, by)
            one.check()
