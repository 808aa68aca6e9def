"""The programs start however the package is installed, and wherever they are started:
from a checkout too, whose package Python then prefers to the installed one.
"""

import os
import pathlib
import subprocess

import pytest

from .conftest import thorough


@pytest.fixture(params=[thorough("checkout"), "elsewhere"])
def where(request, checkout, tmp_path):
    if request.param == "checkout":
        return checkout
    # Gin would look into folders of these names for the package's gin files.
    for name in ("models", "runs"):
        (tmp_path / name).mkdir()
    return tmp_path


# Where a program is started on its gin files, which takes it seconds: on those that are
# installed and on the checkout's.
ON_GIN_FILES = {("wheel", "elsewhere"), ("none", "checkout")}


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["-P"]], ids=["", "-P"])
@pytest.mark.parametrize("installed", ["wheel", thorough("editable"), thorough("none")])
def test_programs_start(pythons, checkout, where, installed, flags):
    environment = {"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu"}
    if installed == "none" and (flags or where != checkout):
        environment["PYTHONPATH"] = str(checkout)

    def run(*arguments):
        done = subprocess.run(
            [pythons[installed], *flags, "-m", *arguments],
            capture_output=True,
            text=True,
            cwd=where,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = "checkout" if where == checkout else "elsewhere"
    if flags or (installed, place) not in ON_GIN_FILES:
        assert "tasks.show" in run("prompt_tuning_recycling.tasks.show", "--help")
    else:
        # Its gin files, and through them its tasks.
        configuration = run(
            "prompt_tuning_recycling.standalone.eval",
            "--gin_file=models/t5_1_1_tiny.gin",
            "--gin_file=runs/standalone/eval.gin",
            "--gin_file=tasks/from_files.gin",
            "--gin.TASK_NAME='reviews'",
            "--gin.TASK_FILES={'test': 'reviews.tsv'}",
            "--gin.INITIAL_CHECKPOINT_PATH='checkpoint_1'",
            "--gin.EVAL_OUTPUT_DIR='out'",
            "--dry_run",
        )
        assert "TASK_NAME = 'reviews'" in configuration
    # The checkout's own, where Python prefers it; else what is installed.
    from_checkout = installed != "wheel" or (where == checkout and not flags)
    gin_path = pathlib.Path(run("prompt_tuning_recycling.gin_path").strip())
    assert (gin_path == checkout / "gin") == from_checkout


def test_the_library_gin_is_not_the_folder_gin(pythons, checkout):
    """Which is why `gin/` must never hold an `__init__.py`."""
    code = "import gin; print(gin.__file__)"
    done = subprocess.run(
        [pythons["none"], "-c", code],
        capture_output=True,
        text=True,
        cwd=checkout,
        check=True,
    )
    assert "gin/__init__.py" in done.stdout
    assert str(checkout) not in done.stdout
