"""Readers of files from strangers: what they can read, what is damaged in known ways,
and what fuzzing has found. `make fuzz` goes on from here.
"""

import contextlib
import pathlib
import random
import tempfile

import pytest

from prompt_tuning_recycling import RecyclingError

from . import mutations, seeds, targets, watching
from .corpus import FINDINGS
from .targets import ALL

MUTANTS = 60


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level("CRITICAL", "prompt_tuning_recycling")


@pytest.fixture(params=ALL)
def target(request):
    return ALL[request.param]


@pytest.fixture
def folder(target):
    with tempfile.TemporaryDirectory(dir=seeds.in_memory()) as name:
        # Some put a file outside, beside the folder.
        inside = pathlib.Path(name, "inside")
        inside.mkdir()
        target.prepare(inside)
        yield inside


def check(target, folder, data):
    # What earlier tests of this process took would hide what the reader takes.
    watching.reset_peak()
    found = watching.watched(target, folder, data)
    assert found is None, f"{found.what}\n{data[:2000]!r}\n{found.traceback}"


def test_what_is_right_and_what_was_changed(target, folder):
    read = 0
    inputs = target.inputs()
    for data, seed in zip(inputs, target.seeds(), strict=True):
        check(target, folder, data)
        with contextlib.suppress(RecyclingError):
            target.read(folder, *seed)
            read += 1
    assert read, "none of the seeds can be read"
    rng = random.Random(target.name)
    for _ in range(MUTANTS):
        data = rng.choice(inputs)
        for _ in range(rng.choice((1, 1, 2))):
            data = mutations.mutated(data, target.kinds, rng, mutations.some_bytes)
        check(target, folder, data)


@pytest.mark.parametrize("line", [line for (line,) in seeds.command_lines()])
def test_the_command_lines_are_right(line):
    command, *flags = line.decode().split("\n")
    targets.PARSERS[command](flags)


@pytest.mark.parametrize(
    ("target", "name"),
    [(reader, name) for reader, found in FINDINGS.items() for name in found],
    indirect=["target"],
)
def test_what_was_found(target, folder, name):
    made = FINDINGS[target.name][name]
    check(target, folder, made if isinstance(made, bytes) else made())
