"""Fixtures: a checkout, and environments in which the package is installed in each of
the ways in which people have it.
"""

import pathlib
import shutil
import subprocess
import sysconfig
import venv

import pytest

_CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
_PARTS = ("prompt_tuning_recycling", "gin", "tasks")
_PACKAGING = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of the checkout, so that building from it leaves nothing behind here."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in _PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_CHECKOUT / folder, copy / folder, ignore=ignored)
    for file in _PACKAGING:
        shutil.copy(_CHECKOUT / file, copy)
    return copy


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory):
    """All that is installed beside the package, without the package."""
    links = tmp_path_factory.mktemp("dependencies")
    for found in pathlib.Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "prompt_tuning_recycling" not in found.name:
            (links / found.name).symlink_to(found)
    return links


@pytest.fixture(scope="session")
def pythons(tmp_path_factory, checkout, dependencies):
    """Three environments: with the wheel, an editable install, and neither."""
    pythons = {}
    for name, how in {"wheel": [], "editable": ["--editable"], "none": None}.items():
        folder = tmp_path_factory.mktemp(name)
        venv.create(folder, symlinks=True)
        python = folder / "bin" / "python"
        paths = {"base": str(folder), "platbase": str(folder)}
        packages = pathlib.Path(sysconfig.get_path("purelib", "venv", paths))
        # Not as a mere path, because packages may be installed through files .pth.
        line = f"import site; site.addsitedir({str(dependencies)!r})\n"
        (packages / "dependencies.pth").write_text(line)
        if how is not None:
            install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
            subprocess.run(
                [python, *install, "--no-build-isolation", *how, checkout],
                check=True,
                capture_output=True,
            )
        pythons[name] = python
    return pythons
