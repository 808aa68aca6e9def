"""A checkpoint, a prompt or a word list that is replaced while it is read: found by its
fingerprint before and after, and never half of one and half of another.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import RecyclingError, run_recycle
from prompt_tuning_recycling.files import reading
from prompt_tuning_recycling.models import model as models
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.words import lists

from ...conftest import EMBEDDING, PROMPT

AGAIN = "was written again or removed while it was being read"


def swap(old, new):
    """Puts a checkpoint in another's place, as a job that writes it again does."""
    aside = old.with_name("aside")
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


@pytest.fixture
def pair(tmp_path, write_any, source_table, prompt):
    """A step in each format, and another run's step of the same sizes."""
    return [
        write_any(
            tmp_path / name, {EMBEDDING: source_table + add, PROMPT: prompt + add}
        )
        for name, add in (("checkpoint_7", 0), ("new", 1))
    ]


def test_a_step_that_is_replaced_between_two_reads(pair):
    step, new = pair
    checkpoint = open_checkpoint(step)
    with pytest.raises(RecyclingError, match=AGAIN), checkpoint.unchanged(EMBEDDING):
        checkpoint.take(EMBEDDING, [3, 5])
        swap(step, new)
        checkpoint.read(PROMPT)


def test_a_step_that_is_replaced_after_it_was_opened(pair, source_table, prompt):
    """The legacy format describes both in the same bytes; all is the new one's then.

    Of the others, the files that describe them say when they were written.
    """
    step, new = pair
    checkpoint = open_checkpoint(step)
    swap(step, new)
    try:
        with checkpoint.unchanged(EMBEDDING):
            rows, vectors = checkpoint.take(EMBEDDING, [3]), checkpoint.read(PROMPT)
    except RecyclingError as error:
        assert AGAIN in str(error)
    else:
        assert checkpoint.format == "T5X legacy"
        np.testing.assert_array_equal(rows, source_table[[3]] + 1)
        np.testing.assert_array_equal(vectors, prompt + 1)


def test_a_step_that_is_removed(pair):
    step, _ = pair
    checkpoint = open_checkpoint(step)
    with pytest.raises(RecyclingError, match=AGAIN), checkpoint.unchanged(EMBEDDING):
        shutil.rmtree(step)
        checkpoint.take(EMBEDDING, [3, 5])


def test_a_step_that_stays_is_not_complained_about(pair):
    checkpoint = open_checkpoint(pair[0])
    with checkpoint.unchanged(EMBEDDING) as fingerprint:
        checkpoint.take(EMBEDDING, [3, 5])
    assert fingerprint == checkpoint.fingerprint(EMBEDDING)
    # What is wrong inside is said, not what is not.
    with (
        pytest.raises(RecyclingError, match="no parameter"),
        checkpoint.unchanged(EMBEDDING),
    ):
        checkpoint.read("missing")


@pytest.mark.parametrize("add", [1, None])
def test_a_file_of_safetensors(tmp_path, source_table, add):
    """With the same header and other numbers, or with another header."""
    name = "shared.weight"
    changed = {name: source_table[:9]} if add is None else {name: source_table + add}
    for file, arrays in (("old", {name: source_table}), ("new", changed)):
        safetensors.numpy.save_file(arrays, tmp_path / file)
    checkpoint = open_checkpoint(tmp_path / "old")
    with pytest.raises(RecyclingError, match=AGAIN), checkpoint.unchanged(name):
        checkpoint.take(name, [3])
        os.replace(tmp_path / "new", tmp_path / "old")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_numpy_file(tmp_path, source_table, in_place, order):
    path = tmp_path / "table.npy"
    np.save(path, np.asarray(source_table, order=order))
    checkpoint = open_checkpoint(path)
    with checkpoint.unchanged("x"):
        rows = checkpoint.take("x", [5, 3, 4, 5])
        np.testing.assert_array_equal(rows, source_table[[5, 3, 4, 5]])
    np.testing.assert_array_equal(checkpoint.read("x"), source_table)
    with pytest.raises(RecyclingError, match=AGAIN), checkpoint.unchanged("x"):
        np.save(path if in_place else tmp_path / "new.npy", source_table + 1)
        if not in_place:
            os.replace(tmp_path / "new.npy", path)
        checkpoint.take("x", [5, 3])


CUT = """
import sys
from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_checkpoint
checkpoint = open_checkpoint(sys.argv[1])
open(sys.argv[1], "r+b").truncate(200)
for name, more in (("read", []), ("fingerprint", []), ("take", [[9]])):
    try:
        getattr(checkpoint, name)("x", *more)
    except RecyclingError as error:
        print(error)
"""


def test_a_numpy_file_that_is_cut_does_not_end_the_process(tmp_path, source_table):
    """With a memory map, the system would send SIGBUS."""
    np.save(tmp_path / "t.npy", source_table)
    done = subprocess.run(
        [sys.executable, "-c", CUT, tmp_path / "t.npy"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("t.npy was cut short while it was being read.") == 3


def test_a_word_list_that_is_written_over(tmp_path, word_list, monkeypatch):
    entries = json.loads(word_list.read_text())
    read_bytes = type(reading.as_path(word_list)).read_bytes

    def slow(path):
        content = read_bytes(path)
        word_list.write_text(json.dumps({**entries, "999": "▁new"}))
        return content

    monkeypatch.setattr(type(reading.as_path(word_list)), "read_bytes", slow)
    with pytest.raises(RecyclingError, match="was changed while it was being read"):
        lists.load(word_list)


@pytest.mark.parametrize("which", ["source_model", "target_model", "prompt_path"])
def test_run_recycle_writes_nothing(files, run, tmp_path, monkeypatch, capsys, which):
    """Each input is replaced just after it was read."""
    inputs = {
        "source_model": tmp_path / "source/checkpoint_7",
        "target_model": tmp_path / "target/checkpoint_9",
        "prompt_path": tmp_path / "prompt.npy",
    }
    replaced = inputs[which]
    method = "read" if which == "prompt_path" else "take"
    done = getattr(models.StoredArray, method)

    def read(array, *arguments):
        found = done(array, *arguments)
        if pathlib.Path(array.checkpoint.path) == replaced:
            if replaced.is_dir():
                for file in replaced.rglob("*"):
                    if file.is_file() and file.name in ("_METADATA", "checkpoint"):
                        # A change that leaves it readable.
                        file.write_bytes(file.read_bytes() + b" ")
            else:
                np.save(replaced, np.load(replaced) + 1)
        return found

    monkeypatch.setattr(models.StoredArray, method, read)
    assert run(run_recycle.main, files) == 1
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert AGAIN in line and str(replaced) in line
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
