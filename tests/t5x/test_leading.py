"""Process 0 does a job, with a model that two processes share."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from t5x_processes import free_address

from prompt_tuning_recycling.t5x_host import leading

LED = pathlib.Path(__file__).resolve().parent / "importable/led.py"


def both(job):
    """What both processes were asked, and how the job has ended on each."""
    address = free_address()
    runs = [
        subprocess.Popen(
            [sys.executable, str(LED), address, str(index), job],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [run.communicate(timeout=250)[0] for run in runs]
    (asked, end), (asked_too, end_too) = (
        json.loads(output.splitlines()[-1]) for output in outputs
    )
    assert asked == asked_too
    return asked, end, end_too


def test_the_others_do_what_process_0_does_with_the_same_bits():
    asked, *ends = both("works")
    assert ends == [7, 7]
    # An error of one evaluation does not end the others'.
    assert [what for what, *_ in asked] == ["evaluate", "evaluate", "score"]


def test_a_mistake_reaches_all():
    _, *ends = both("finds_a_mistake")
    assert ends == [["RecyclingError", "1 of 2 failed"]] * 2


def test_a_bug_ends_all():
    _, end, other = both("has_a_bug")
    assert end == ["ZeroDivisionError", "a bug"]
    assert other == [
        "RuntimeError",
        "process 0 failed with ZeroDivisionError: a bug",
    ]


class Broken:
    """A model on a process whose disk fails while all processes run it."""

    model, shapes = None, {}

    def start(self, prompts):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(("processes", "kind"), [(1, OSError), (2, RuntimeError)])
def test_a_job_goes_on_only_if_nobody_else_is_at_work(monkeypatch, processes, kind):
    monkeypatch.setattr(leading, "_send", lambda *_: None)
    monkeypatch.setattr(leading.jax, "process_count", lambda: processes)
    leader = leading.Leader(Broken())
    with pytest.raises(kind, match="Input/output error"):
        leader.evaluate({})
    assert leader.is_running == (processes > 1)
