"""T5X's programs as a new process, started in the checkout, whose package Python then
prefers to the installed one, and elsewhere."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent


@pytest.mark.parametrize("where", ["checkout", "elsewhere"])
@pytest.mark.parametrize("program", ["train", "eval", "infer"])
def test_programs_start(command, recycle, tmp_path, program, where):
    arguments, folder = command(program, folder=tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=HERE.parents[1] if where == "checkout" else tmp_path,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(HERE / "importable"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    made = np.load(folder / "recycled_prompt/prompt.npy")
    np.testing.assert_array_equal(made, recycle())
