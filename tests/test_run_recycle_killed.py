"""Killed while it writes: the files from before, or whole new ones."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from prompt_tuning_recycling import load_map
from prompt_tuning_recycling.prompts import prompt as prompt_files

# Runs the command line, and ends it at a known point: before the N-th operation on the
# folder of outputs, or in the middle of what is written to the file opened there.
# Python tells of each operation before it does it.
PROGRAM = """
import os, resource, runpy, signal, sys

folder, point, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
operations = []

def before(event, arguments):
    if event not in ("os.mkdir", "open", "os.chmod", "os.rename", "os.remove"):
        return
    if not str(arguments[0]).startswith(folder):
        return
    operations.append(event)
    if len(operations) != point:
        return
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

sys.addaudithook(before)
del sys.argv[1:4]
try:
    runpy.run_module("prompt_tuning_recycling.run_recycle", run_name="__main__")
finally:
    print(*operations, file=sys.stderr)
"""


@pytest.fixture
def start(files, tmp_path):
    """Runs to the given point; returns the exit code and what was done in `out/`."""

    def start(point=0, how="kill", **flags):
        out = tmp_path / "out"
        flags = {**files, "save_recycler": str(out / "map"), **flags}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(out), str(point), how]
            + [f"--{name}={value}" for name, value in flags.items()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        lines = done.stderr.splitlines()
        return done.returncode, lines[-1].split() if lines else []

    return start


@pytest.fixture
def whole(start, tmp_path):
    """The folder after an undisturbed run, and what that did there."""
    code, operations = start()
    assert code == 0
    shutil.move(tmp_path / "out", tmp_path / "whole")
    # The map, the record and the prompt.
    assert operations.count("os.rename") == 3
    return tmp_path / "whole", operations


@pytest.mark.slow
def test_killed_before_each_operation_of_the_first_write(start, tmp_path, whole):
    whole, operations = whole
    for point in range(1, len(operations) + 1):
        assert start(point)[0] == -signal.SIGKILL
        assert_each_is_whole(tmp_path / "out", whole)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.mark.slow
def test_killed_before_each_operation_on_an_earlier_output(start, tmp_path, whole):
    whole, _ = whole
    assert start(num_words="100")[0] == 0
    shutil.copytree(tmp_path / "out", tmp_path / "earlier")
    # Without the folder's own making, which is done.
    _, operations = start(num_words="100")
    for point in range(1, len(operations) + 1):
        assert start(point)[0] == -signal.SIGKILL
        assert_each_is_whole(tmp_path / "out", whole, tmp_path / "earlier")
        # Renamed so far: the map, then the record, then the prompt.
        renamed = operations[: point - 1].count("os.rename")
        new = [
            same(tmp_path / "out" / name, whole / name)
            for name in ("map", "recycled.json", "recycled")
        ]
        assert new == [place < renamed for place in range(3)]
        shutil.rmtree(tmp_path / "out")
        shutil.copytree(tmp_path / "earlier", tmp_path / "out")


@pytest.mark.slow
def test_ended_in_the_middle_of_each_file(start, tmp_path, whole):
    whole, operations = whole
    opened = [n for n, name in enumerate(operations, start=1) if name == "open"]
    assert len(opened) >= 3
    for point in opened:
        assert start(point, "cut")[0] == -signal.SIGXFSZ
        # The record may be beside a prompt that is cut short, whole and not renamed.
        sizes = [path.stat().st_size for path in (tmp_path / "out").glob(".*.tmp")]
        assert sizes.count(100) == 1 and len(sizes) <= 2
        assert_each_is_whole(tmp_path / "out", whole)
        # What is left behind is in nobody's way.
        assert start()[0] == 0
        prompt_files.load_record(tmp_path / "out" / "recycled")
        shutil.rmtree(tmp_path / "out")


def assert_each_is_whole(out, *possible):
    """Each file is absent (if it was before), or equals that of an undisturbed run."""
    for name in ("map", "recycled.json", "recycled"):
        if (out / name).exists() or len(possible) > 1:
            assert any(same(out / name, other / name) for other in possible), name
    if (out / "recycled").exists():
        assert (out / "recycled.json").exists()


def same(one: pathlib.Path, other: pathlib.Path) -> bool:
    if one.name == "map":
        maps = [vars(load_map(path)) for path in (one, other)]
        return all(np.allclose(maps[0][name], maps[1][name]) for name in maps[1])
    if one.suffix == ".json":
        # All but how long it took.
        records = [json.loads(path.read_text()) for path in (one, other)]
        return records[0]["recycled"] == records[1]["recycled"]
    return one.read_bytes() == other.read_bytes()
