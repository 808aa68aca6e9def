"""The package as it is installed: all its files, and nothing loaded too early."""

import importlib.metadata
import importlib.resources
import os
import pathlib
import subprocess
import sys

import pytest

import prompt_tuning_recycling
from prompt_tuning_recycling import command_line, gin_path

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
    with pytest.raises(AttributeError, match="no attribute 'recycle'"):
        prompt_tuning_recycling.recycle  # noqa: B018


@pytest.mark.parametrize("file", ["py.typed", "data/english_words_t5.json"])
def test_data_files_are_installed(file):
    package = importlib.resources.files("prompt_tuning_recycling")
    assert package.joinpath(*file.split("/")).is_file()


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


def test_tasks_are_installed():
    assert importlib.import_module("prompt_tuning_recycling.tasks")


def test_the_core_does_not_require_tensorflow():
    requires = importlib.metadata.requires("prompt_tuning_recycling") or []
    core = [requirement for requirement in requires if "extra ==" not in requirement]
    assert core
    assert not [r for r in core if r.startswith(("tensorflow", "seqio", "t5x"))]


@pytest.mark.parametrize("command", command_line.COMMANDS)
def test_the_console_script_offers_every_command(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prompt-recycling", command, "--help"])
    with pytest.raises(SystemExit) as stop:
        command_line.console_script()
    assert stop.value.code == 0
    assert f"prompt-recycling {command}" in capsys.readouterr().out


def test_the_console_script_lists_its_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prompt-recycling", "--help"])
    with pytest.raises(SystemExit):
        command_line.console_script()
    text = capsys.readouterr().out
    for command, purpose in command_line.COMMANDS.items():
        assert command in text
        assert purpose in text


def test_the_console_script_is_installed():
    (script,) = importlib.metadata.entry_points(
        group="console_scripts", name="prompt-recycling"
    )
    assert script.load() is command_line.console_script


def test_an_unknown_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prompt-recycling", "recycle_run"])
    with pytest.raises(SystemExit) as stop:
        command_line.console_script()
    assert stop.value.code == 2
    assert "run_recycle" in capsys.readouterr().err


def test_an_interruption_is_one_line(capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    assert command_line.run(interrupted, []) == 130
    assert "interrupted" in capsys.readouterr().err


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
