"""The programs start however the package is installed, and wherever they are started:
from a checkout too, whose package Python then prefers to the installed one.
"""

import os
import pathlib
import shutil
import subprocess
import sysconfig
import venv

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ("prompt_tuning_recycling", "gin", "tasks")
PACKAGING = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout, so that building from it leaves nothing behind here."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / folder, copy / folder, ignore=ignored)
    for file in PACKAGING:
        shutil.copy(CHECKOUT / file, copy)
    return copy


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory):
    """All that is installed beside the package, without the package."""
    links = tmp_path_factory.mktemp("dependencies")
    for found in pathlib.Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "prompt_tuning_recycling" not in found.name and found.suffix != ".pth":
            (links / found.name).symlink_to(found)
    return links


@pytest.fixture(scope="module")
def pythons(tmp_path_factory, checkout, dependencies):
    """Three environments: with the wheel, an editable install, and neither."""
    pythons = {}
    for name, how in {"wheel": [], "editable": ["--editable"], "none": None}.items():
        folder = tmp_path_factory.mktemp(name)
        venv.create(folder, symlinks=True)
        python = folder / "bin" / "python"
        paths = {"base": str(folder), "platbase": str(folder)}
        packages = pathlib.Path(sysconfig.get_path("purelib", "venv", paths))
        (packages / "dependencies.pth").write_text(f"{dependencies}\n")
        if how is not None:
            install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
            subprocess.run(
                [python, *install, "--no-build-isolation", *how, checkout],
                check=True,
                capture_output=True,
            )
        pythons[name] = python
    return pythons


@pytest.fixture(params=["checkout", "elsewhere"])
def where(request, checkout, tmp_path):
    return checkout if request.param == "checkout" else tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["-P"]], ids=["", "-P"])
@pytest.mark.parametrize("installed", ["wheel", "editable", "none"])
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

    if flags:  # The longer one once for each place is enough.
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
