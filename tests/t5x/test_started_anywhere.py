"""T5X's programs as new processes, however the package is installed, and started in a
checkout, whose package Python then prefers to the installed one, or elsewhere."""

import os
import pathlib
import subprocess

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent


@pytest.mark.parametrize(
    ("program", "installed", "where"),
    [
        *(
            (program, installed, "checkout")
            for program in ("train", "eval", "infer")
            for installed in ("wheel", "editable", "none")
        ),
        ("eval", "wheel", "elsewhere"),
    ],
)
def test_programs_start(
    command, recycle, pythons, checkout, tmp_path, program, installed, where
):
    cwd = checkout if where == "checkout" else tmp_path
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(HERE / "importable"),
    }
    gin_path = subprocess.run(
        [pythons[installed], "-m", "prompt_tuning_recycling.gin_path"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert (gin_path == str(checkout / "gin")) == (where == "checkout")
    arguments, folder = command(
        program, folder=tmp_path / "run", search_path=f"{gin_path},{HERE / 'gin'}"
    )
    done = subprocess.run(
        [pythons[installed], "-m", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    made = np.load(folder / "recycled_prompt/prompt.npy")
    np.testing.assert_array_equal(made, recycle())
