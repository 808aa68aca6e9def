"""Temporary files and folders: what killed processes leave, and who removes it."""

import os
import pathlib
import subprocess
import sys

import pytest

from prompt_tuning_recycling import Prompt, RecyclingError
from prompt_tuning_recycling.files import temporary, write_atomically, write_folder
from prompt_tuning_recycling.files.temporary import (
    left_behind,
    temporary_file,
    temporary_folder,
)
from prompt_tuning_recycling.prompts.prompt import load_record, record_path

LONG = "n" * 40


def abandoned(make, path):
    """What a process leaves that was killed as it wrote a path."""
    program = (
        "import os, sys; from prompt_tuning_recycling.files import temporary; "
        f"made = temporary.{make}(sys.argv[1]); "
        "made.__enter__() if hasattr(made, '__enter__') else None; "
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    (name,) = left_behind([path])
    return name


@pytest.mark.parametrize("make", ["temporary_file", "temporary_folder"])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, make):
    path = tmp_path / LONG
    name = abandoned(make, path)
    assert os.path.basename(name).startswith("." + LONG[:30])
    # Of another path, whose name begins alike.
    write_atomically(tmp_path / (LONG + "n"), b"")
    assert os.path.exists(name)
    if make == "temporary_file":
        write_atomically(path, b"")
    else:
        write_folder(path, {"file": b""})
    assert sorted(os.listdir(tmp_path)) == [LONG, LONG + "n"]


def test_what_a_process_is_at_work_on_stays(tmp_path):
    path = tmp_path / "file"
    descriptor, name = temporary_file(path)
    write_atomically(path, b"")
    assert os.path.exists(name)
    os.close(descriptor)
    write_atomically(path, b"")
    assert os.listdir(tmp_path) == ["file"]
    with temporary_folder(tmp_path / "folder") as name:
        write_folder(tmp_path / "folder", {"file": b""})
        assert os.path.exists(name)


def test_a_link_in_its_place_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    name = temporary._name(tmp_path / "file")
    os.symlink(victim, name)
    write_atomically(tmp_path / "file", b"")
    assert os.path.islink(name)
    assert victim.read_bytes() == b"precious"


def test_where_nothing_can_be_locked_nothing_is_removed(tmp_path, monkeypatch):
    name = abandoned("temporary_file", tmp_path / "file")

    def flock(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(temporary.fcntl, "flock", flock)
    write_atomically(tmp_path / "file", b"new")
    assert os.path.exists(name)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_record_that_was_set_aside_is_found(tmp_path, prompt):
    path = tmp_path / "prompt.npy"
    Prompt(prompt, record={"number": 1}).save(path)
    # As a process leaves it that is killed when it has renamed the record alone.
    descriptor, _ = temporary.set_aside(record_path(path))
    os.close(descriptor)
    other = Prompt(2 * prompt, record={"number": 2})
    os.unlink(record_path(path))
    record_path(path).write_bytes(other.files(path)[record_path(path)])
    assert load_record(path)["number"] == 1
    other.save(path)
    assert load_record(path)["number"] == 2
    assert sorted(os.listdir(tmp_path)) == ["prompt.npy", "prompt.npy.json"]


def test_what_another_process_has_set_aside_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    descriptor, name = temporary.set_aside(path)
    write_atomically(path, b"new")
    temporary.remove_left_behind([path])
    assert pathlib.Path(name).read_bytes() == b"old"
    os.close(descriptor)
    temporary.remove_left_behind([path])
    assert os.listdir(tmp_path) == ["file"]


def test_without_it_the_record_does_not_belong(tmp_path, prompt):
    path = tmp_path / "prompt.npy"
    Prompt(prompt).save(path)
    Prompt(2 * prompt).save(tmp_path / "other")
    os.replace(record_path(tmp_path / "other"), record_path(path))
    with pytest.raises(RecyclingError, match="does not belong"):
        load_record(path)
