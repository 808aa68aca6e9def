"""The folder of the gin files: in the wheel, in an editable install, in a checkout."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from prompt_tuning_recycling import RecyclingError, gin_path

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


def test_every_gin_file_is_installed():
    installed = pathlib.Path(gin_path.gin_path())
    found = {str(file.relative_to(installed)) for file in installed.rglob("*.gin")}
    in_checkout = {
        str(file.relative_to(CHECKOUT / "gin"))
        for file in (CHECKOUT / "gin").rglob("*.gin")
    }
    assert found == in_checkout
    assert found


def test_the_gin_folder_never_shadows_the_gin_library():
    assert not list((CHECKOUT / "gin").rglob("__init__.py"))


def test_gin_path_is_a_program():
    out = subprocess.run(
        [sys.executable, "-m", "prompt_tuning_recycling.gin_path"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out == gin_path.gin_path() + "\n"


def test_in_a_checkout_it_is_beside_the_package(tmp_path, monkeypatch):
    shutil.copytree(gin_path.gin_path(), tmp_path / "gin")
    module = tmp_path / "prompt_tuning_recycling" / "gin_path.py"
    monkeypatch.setattr(gin_path, "__file__", str(module))
    assert gin_path.gin_path() == str(tmp_path / "gin")


def test_an_installation_without_gin_files_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(gin_path, "__file__", str(tmp_path / "package" / "gin_path.py"))
    with pytest.raises(RecyclingError, match="Install the package again"):
        gin_path.gin_path()
