"""Process 0 does a job, with a model that two processes share."""

import json
import os
import pathlib
import subprocess
import sys

from t5x_processes import free_address

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
