"""A run's prompts as numpy files, where prompt-tuning puts them."""

import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from prompt_tuning_recycling import load_prompt
from prompt_tuning_recycling.prompts import export

NAME = "encoder/prompt/prompt/prompt"


@pytest.fixture
def exported(tmp_path):
    return tmp_path / "numpy_checkpoints/checkpoint_7/encoder.prompt.prompt.prompt"


def test_a_prompt_is_exported_as_prompt_tuning_does(tmp_path, prompt, exported):
    folder = export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert folder == exported.parent
    with exported.open("rb") as file:
        np.testing.assert_array_equal(np.load(file), prompt)
    np.testing.assert_array_equal(load_prompt(exported).array, prompt)


def test_only_the_export_is_left(tmp_path, prompt, exported):
    export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert list(exported.parent.parent.iterdir()) == [exported.parent]
    assert list(exported.parent.iterdir()) == [exported]


def test_every_prompt_is_a_file(tmp_path, prompt, exported):
    both = {NAME: prompt, "decoder/prompt/prompt/prompt": 2 * prompt}
    export.export_prompts(tmp_path, 7, both)
    other = exported.with_name("decoder.prompt.prompt.prompt")
    np.testing.assert_array_equal(load_prompt(other).array, 2 * prompt)


def test_it_is_float32(tmp_path, prompt, exported):
    export.export_prompts(tmp_path, 7, {NAME: prompt.astype(ml_dtypes.bfloat16)})
    assert load_prompt(exported).array.dtype == np.float32


def test_an_export_that_exists_is_replaced(tmp_path, prompt, exported):
    export.export_prompts(tmp_path, 7, {NAME: prompt, "old/prompt/x": prompt})
    export.export_prompts(tmp_path, 7, {NAME: 2 * prompt})
    np.testing.assert_array_equal(load_prompt(exported).array, 2 * prompt)
    assert list(exported.parent.iterdir()) == [exported]
    assert list(exported.parent.parent.iterdir()) == [exported.parent]


def test_what_an_earlier_export_left_behind_does_not_hinder(tmp_path, prompt, exported):
    half = exported.parent.with_name("tmp.checkpoint_7")
    half.mkdir(parents=True)
    (half / "half").write_bytes(b"")
    export.export_prompts(tmp_path, 7, {NAME: prompt})
    assert list(exported.parent.iterdir()) == [exported]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder/prompt/prompt/prompt", True),
        ("/encoder/prompt/prompt/prompt", True),
        ("encoder/layers_0/mlp/wo/kernel", False),
        ("encoder/prompt_norm/scale", False),
    ],
)
def test_which_parameters_are_a_prompts(name, expected):
    assert export.matches(name) is expected


def test_regular_expressions_match_the_whole_name():
    assert export.matches("encoder/x", [".*"])
    assert not export.matches("encoder/x", ["encoder"])


# Exports 1, then 2 in its place, and ends before the N-th operation of the second.
# Python tells of each operation before it does it.
WRITER = """
import os, signal, sys
import numpy as np
from prompt_tuning_recycling.prompts import export

folder, name, point = sys.argv[1], sys.argv[2], int(sys.argv[3])
operations = 0

def before(event, arguments):
    global operations
    if event in ("os.mkdir", "open", "os.rename", "os.remove", "os.rmdir"):
        if str(arguments[0]).startswith(folder):
            operations += 1
            if operations == point:
                os.kill(os.getpid(), signal.SIGKILL)

def write(number):
    array = np.full((50, 100), number, np.float32)
    export.export_prompts(folder, 7, {name: array, "b": array})

write(1)
sys.addaudithook(before)
write(2)
print(operations)
"""


@pytest.mark.slow
def test_killed_before_each_operation_an_export_is_whole_or_not_there(tmp_path):
    def run(point):
        out = tmp_path / f"run-{point}"
        done = subprocess.run(
            [sys.executable, "-c", WRITER, str(out), NAME, str(point)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (-signal.SIGKILL if point else 0), done.stderr
        folder = out / "numpy_checkpoints/checkpoint_7"
        if not folder.exists():
            return None, done.stdout
        arrays = [np.load(file.open("rb")) for file in folder.iterdir()]
        assert [array.shape for array in arrays] == [(50, 100)] * 2
        (number,) = {float(n) for array in arrays for n in np.unique(array)}
        return number, done.stdout

    number, operations = run(0)
    assert number == 2
    found = [run(point)[0] for point in range(1, int(operations) + 1)]
    # In this order: the one before, for a moment none, the new one.
    assert found == sorted(found, key=[1, None, 2].index)
    assert set(found) == {1, None, 2}
