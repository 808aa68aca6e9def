"""Several processes at one sweep: each item once, also when one of them is killed."""

import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import distributed
import pytest

from prompt_tuning_recycling import RecyclingError, recycle
from prompt_tuning_recycling.files import holding
from prompt_tuning_recycling.sweep.engine import Engine

from ..programs import stop_at
from .conftest import MODELS, tree, write_prompt


@pytest.fixture
def with_networks(content, write_config):
    """A sweep of two models that also trains networks."""
    for part in ("pretrained", "prompts"):
        del content[part]["Large"]
    return [f"--config={write_config(content)}"]


@pytest.fixture
def command(content, write_config):
    """A sweep that is quickly fitted: 6 pairs, 2 recyclers, 2 initializations and runs
    and steps.
    """
    del content["recycling_methods"]["jax-nn"]
    return [f"--config={write_config(content)}"]


@pytest.fixture
def many_writes(content, command, write_config, rng):
    """The same sweep, of 8 steps."""
    content["steps"] = list(range(8))
    for model, inits in content["prompts"].items():
        for runs in inits.values():
            for folder in runs.values():
                for step in content["steps"]:
                    prompt = rng.normal(size=(5, MODELS[model]))
                    write_prompt(folder, step, prompt)
    return [f"--config={write_config(content)}"]


@pytest.fixture
def start(start_program):
    return functools.partial(start_program, "prompt_tuning_recycling.recycle")


def finish(program):
    ended = program.end()
    assert ended.code == 0, ended.error
    return ended


def undisturbed(start, command, root):
    """What an undisturbed run writes."""
    finish(start(command))
    expected = tree(root)
    shutil.rmtree(root)
    return expected


def written(root):
    """Every output that is there, whole, with the time at which it was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in pathlib.Path(root).rglob("*")
        if path.is_file()
        and (path.parent.name in ("learned-recyclers", "recycled-prompt"))
        and path.suffix not in (".json", ".lock")
        and not path.name.endswith(".tmp")
    }


# Before which of its renames a process is killed: of a recycler's record, of the
# recycler, of the first prompt's record, and so on. The sweep takes about 800 of them.
# `make kills` kills a smaller one at more points.
KILLED_AT = (2, 20, 155)


@pytest.mark.thorough
def test_killed_at_points_all_over_a_sweep(many_writes, content, start):
    root = content["root_dir"]
    expected = undisturbed(start, many_writes, root)
    seen: dict[pathlib.Path, int] = {}
    grew, left = [], set()
    for number in KILLED_AT:
        stop = stop_at("kill", "os.rename", number, f"{root}/tf-lstsq/")
        killed = start(many_writes, stop).end()
        assert killed.code == -signal.SIGKILL, killed.error
        now = written(root)
        # Nothing that was there has been done again.
        assert {path: now.get(path) for path in seen} == seen
        grew.append(len(now) > len(seen))
        left |= {path.parent.name for path in pathlib.Path(root).rglob("*.tmp")}
        seen = now
    assert not grew[0] and all(grew[1:])
    # Killed in the middle of a write, of recyclers and of prompts.
    assert left == {"learned-recyclers", "recycled-prompt"}
    finish(start(many_writes))
    assert {path: written(root).get(path) for path in seen} == seen
    assert len(written(root)) > len(seen)
    # What was left behind is gone.
    assert tree(root) == expected


def done(out):
    """How many prompts were recycled, and how many were there before."""
    (line,) = [line for line in out.splitlines() if "prompts recycled by" in line]
    return int(line.split()[0]), int(line.split(", ")[1].split()[0])


@pytest.mark.slow
@pytest.mark.thorough
def test_two_processes_on_one_folder(command, content, start):
    root = content["root_dir"]
    expected = undisturbed(start, command, root)
    results = [finish(process) for process in [start(command), start(command)]]
    assert tree(root) == expected
    fits = [line for result in results for line in result.error.splitlines()]
    fits = [line for line in fits if line.startswith("fitting ")]
    # 6 pairs and 2 recyclers, wherever they were fitted.
    assert len(fits) == 12
    assert sum("joining the process" in result.error for result in results) <= 1


@pytest.mark.thorough
def test_the_one_that_leads_is_killed(command, content, start):
    root = content["root_dir"]
    expected = undisturbed(start, command, root)
    # Held in the middle of the work, so that the other has someone to join.
    leader = start(command, stop_at("hold", "os.rename", 40, f"{root}/tf-lstsq/"))
    leader.wait_for("held")
    follower = start(command)
    follower.wait_for("joining the process")
    leader.kill()
    before = written(root)
    assert before
    finish(follower)
    now = written(root)
    assert {path: now.get(path) for path in before} == before
    assert len(now) > len(before)
    assert tree(root) == expected


@pytest.mark.thorough
def test_workers_in_processes_of_their_own(with_networks, content, start):
    root = content["root_dir"]
    recycle.main(with_networks)
    expected = tree(root)
    shutil.rmtree(root)
    ended = finish(start([*with_networks, "--workers=2"]))
    # 2 pairs, 3 recyclers, 8 prompts.
    assert done(ended.out) == (48, 0)
    assert tree(root) == expected


@pytest.mark.thorough
def test_a_scheduler_for_several_commands(command, content, tmp_path, start):
    """As on several machines: workers of their own, and two commands that ask."""
    root = content["root_dir"]
    expected = undisturbed(start, command, root)
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as cluster:
        note = tmp_path / "scheduler.json"
        note.write_text(json.dumps({"address": cluster.scheduler_address}))
        results = [
            finish(process)
            for process in [
                start([*command, f"--scheduler={cluster.scheduler_address}"]),
                start([*command, f"--scheduler={note}"]),
            ]
        ]
    assert tree(root) == expected
    for result in results:
        recycled, present = done(result.out)
        assert recycled + present == 96
    # Whoever came late found some done; nobody did them again.
    assert done(results[0].out)[0] == 96


def _square(number):
    if number == 3:
        raise ValueError("three is out of the question")
    return number * number


def test_each_piece_by_its_key(tmp_path):
    engine = Engine(str(tmp_path))
    assert dict(engine.run(_square, {"one": 1, "two": 2})) == {"one": 1, "two": 4}


def test_an_error_that_nobody_expected_is_not_lost(tmp_path):
    engine = Engine(str(tmp_path))
    with pytest.raises(RuntimeError, match="three is out of the question"):
        list(engine.run(_square, {"one": 1, "three": 3}))


ELSEWHERE = """
import socket, sys
from prompt_tuning_recycling.files import holding

socket.gethostname = lambda: "elsewhere"
with holding.held(sys.argv[1], "a command is at work", "Wait."):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_machine_is_at_work(tmp_path):
    lock = tmp_path / ".sweep" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RecyclingError) as error:
            list(Engine(str(tmp_path)).run(abs, {"one": 1}))
        other.stdin.close()
    assert "another machine is working on" in str(error.value)
    assert f"process {other.pid} on elsewhere (-c " in str(error.value)


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("tcp://of-a-stranger:8786", 0),
        ("tcp://127.0.0.1:1@of-a-stranger:8786", 0),
        ("tls://127.0.0.1:8786", 0),
        ("tcp://127.0.0.1:8786", 1),
    ],
)
def test_a_note_that_somebody_has_planted(tmp_path, monkeypatch, address, owner):
    """Who runs the scheduler that a command joins could run any code in it."""
    lock, note = tmp_path / ".sweep" / "lock", tmp_path / ".sweep" / "scheduler.json"
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + owner)
    with holding.held(lock, "a command is at work", "Wait."):
        note.write_text(json.dumps({"address": address, "process": os.getpid()}))
        with pytest.raises(RecyclingError, match="expected one of your own on this"):
            list(Engine(str(tmp_path)).run(abs, {"one": 1}))
