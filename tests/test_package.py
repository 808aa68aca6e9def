"""The package as it is installed: all its files, and nothing loaded too early."""

import importlib.metadata
import importlib.resources
import os
import pathlib
import subprocess
import sys

import pytest

import prompt_tuning_recycling

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def loaded_by(code: str) -> set[str]:
    return set(run_python(f"{code}; import sys; print(*sys.modules)").split())


def test_importing_it_loads_nothing_heavy():
    heavy = {"jax", "tensorflow", "numpy", "tensorstore", "gin", "etils"}
    assert not heavy & loaded_by("import prompt_tuning_recycling")


def test_the_command_line_does_not_load_jax_or_tensorflow():
    loaded = loaded_by("import prompt_tuning_recycling.run_recycle")
    assert not {"jax", "tensorflow", "scipy", "flax", "orbax"} & loaded


def test_the_linear_recyclers_never_load_jax(files, tmp_path):
    arguments = [f"--{name}={value}" for name, value in files.items()]
    loaded = loaded_by(
        "from prompt_tuning_recycling import run_recycle; "
        f"run_recycle.main({arguments!r})"
    )
    assert not {"jax", "tensorflow"} & loaded


def test_everything_public_is_there():
    for name in prompt_tuning_recycling.__all__:
        assert getattr(prompt_tuning_recycling, name)
        assert name in dir(prompt_tuning_recycling)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'recycle_promt'"):
        prompt_tuning_recycling.recycle_promt  # noqa: B018


@pytest.mark.parametrize(
    "file",
    [
        "py.typed",
        "words/data/english_words_t5.json",
        "sweep/report/templates/base.html.jinja",
    ],
)
def test_data_files_are_installed(file):
    package = importlib.resources.files("prompt_tuning_recycling")
    assert package.joinpath(*file.split("/")).is_file()


def test_tasks_are_installed():
    assert importlib.import_module("prompt_tuning_recycling.tasks")


def test_the_core_does_not_require_tensorflow():
    requires = importlib.metadata.requires("prompt_tuning_recycling") or []
    core = [requirement for requirement in requires if "extra ==" not in requirement]
    assert core
    assert not [r for r in core if r.startswith(("tensorflow", "seqio", "t5x"))]


def test_the_version_is_the_installed_one():
    version = importlib.metadata.version("prompt_tuning_recycling")
    assert prompt_tuning_recycling.__version__ == version


def test_the_citation_and_the_changelog_name_this_version():
    version = prompt_tuning_recycling.__version__
    assert f"version: {version}" in (CHECKOUT / "CITATION.cff").read_text()
    assert f"## {version}" in (CHECKOUT / "CHANGELOG.md").read_text()


@pytest.mark.skipif(
    "TESTING_WHEEL" not in os.environ, reason="only `make test` tests the wheel"
)
def test_the_wheel_is_tested_not_the_checkout():
    assert prompt_tuning_recycling.__file__.startswith(sys.prefix)
    assert not prompt_tuning_recycling.__file__.startswith(
        str(CHECKOUT / "prompt_tuning_recycling")
    )
    assert str(CHECKOUT) not in sys.path
