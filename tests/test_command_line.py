"""The console script, and what all command lines share."""

import importlib.metadata
import sys

import pytest

from prompt_tuning_recycling import RecyclingError, command_line


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


def test_an_error_of_the_users_is_one_line(capsys):
    def fails(_):
        raise RecyclingError("too\n  short.")

    assert command_line.run(fails, []) == 1
    assert capsys.readouterr().err == "error: too short.\n"


def test_an_error_of_ours_keeps_its_traceback():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command_line.run(broken, [])
