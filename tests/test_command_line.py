"""The console script, and what all command lines share."""

import errno
import importlib.metadata
import os
import signal
import subprocess
import sys
import types

import gin
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


@pytest.fixture(params=["buffered", "unbuffered"])
def start(request, files):
    """Starts `run_recycle --report`, which prints more than a pipe's first line."""
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    if request.param == "unbuffered":
        environment["PYTHONUNBUFFERED"] = "1"

    def start(*arguments, module="run_recycle", **options):
        return subprocess.Popen(
            [sys.executable, "-m", f"prompt_tuning_recycling.{module}", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **options.pop("env", {})},
            **options,
        )

    return start


def as_arguments(files):
    return [f"--{name}={value}" for name, value in files.items()]


def nobody_reads():
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("module", ["run_recycle", "gin_path"])
def test_a_pipe_that_nobody_reads_any_more(start, files, module):
    arguments = [*as_arguments(files), "--report"] if module == "run_recycle" else []
    process = start(*arguments, module=module, stdout=nobody_reads())
    _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("module", ["run_recycle", "gin_path"])
def test_a_standard_output_that_is_full(start, files, module):
    arguments = [*as_arguments(files), "--report"] if module == "run_recycle" else []
    with open("/dev/full", "w") as full:
        process = start(*arguments, module=module, stdout=full)
        _, err = process.communicate()
    assert process.returncode == 1
    assert "standard output: No space left on device" in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_what_was_written_before_the_standard_output_was_full_stays(start, files):
    process = start(*as_arguments(files), stdout=nobody_reads())
    process.communicate()
    assert os.path.getsize(files["output_path"])


def test_the_help_for_a_pipe_that_nobody_reads(start):
    process = start("--help", stdout=nobody_reads())
    _, err = process.communicate()
    assert err == ""


def test_no_standard_output_at_all(files):
    command = [sys.executable, "-m", "prompt_tuning_recycling.run_recycle"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command, *as_arguments(files)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_standard_output_without_the_pieces_characters(start, files):
    process = start(
        *as_arguments(files),
        "--report",
        stdout=subprocess.PIPE,
        env={"PYTHONIOENCODING": "ascii"},
    )
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "\\u2581word" in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("in_gin", [False, True])
def test_a_full_disk_is_one_line(capsys, in_gin):
    """Whatever wrote to it: also below gin, which raises a copy of the error."""

    def write():
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"bytes")

    def named():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/file")

    for function in (write, named):
        if in_gin:
            with gin.unlock_config():
                function = gin.external_configurable(
                    function, f"test_{function.__name__}"
                )
        assert command_line.run(lambda _, function=function: function(), []) == 1
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "No space left on device. Make room" in err
    assert "cannot write /disk/file" in err


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EPERM])
def test_a_disk_that_cannot_be_used_is_one_line(capsys, number):
    def broken(_):
        raise OSError(number, os.strerror(number), "/disk/file")

    assert command_line.run(broken, []) == 1
    err = capsys.readouterr().err
    assert err.startswith(
        f"error: cannot read or write /disk/file: {os.strerror(number)}"
    )
    assert err.count("\n") == 1


def test_tensorflows_errors_of_a_disk_are_not_called_a_stores(capsys, monkeypatch):
    class OpError(Exception):
        """As TensorFlow's, by its name."""

    OpError.__module__ = "tensorflow.python.framework.errors_impl"
    module = types.ModuleType(OpError.__module__)
    module.OpError = OpError
    monkeypatch.setitem(sys.modules, OpError.__module__, module)

    def broken(_):
        text = "{{node X_/job:l}} /disk/file; No space left on device [Op:X] name: "
        raise OpError(text)

    assert command_line.run(broken, []) == 1
    err = capsys.readouterr().err
    assert "cannot read or write /disk/file; No space left on device. Make room" in err
    assert "object store" not in err

    def of_store(_):
        raise OpError("gs://bucket/file; forbidden")

    assert command_line.run(of_store, []) == 1
    assert "cannot use an object store: gs://bucket" in capsys.readouterr().err


@pytest.mark.parametrize("error", [BrokenPipeError(32, "a socket's"), OSError()])
def test_other_errors_of_the_system_keep_their_traceback(error):
    def broken(_):
        raise error

    with pytest.raises(type(error)):
        command_line.run(broken, [])
