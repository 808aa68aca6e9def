"""What the package's command lines share: flags that explain themselves, errors
on one line, and the console script `prompt-recycling` that offers them all.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import logging
import os
import re
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TextIO

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    is_remote,
    reason,
    storage_errors,
    store_errors,
)
from prompt_tuning_recycling.version import __version__

# Modules, not functions, so that only the requested command is imported.
COMMANDS = {
    "run_recycle": "recycle one prompt for another model",
    "recycle": "recycle many prompts between many models",
    "collect_recycling_results": "collect the results in tables",
    "report": "show the results on a page",
    "convert": "convert a T5 model between T5X and Hugging Face",
    "inspect": "say what a path is: a model, a checkpoint, a prompt",
    "filter_vocabulary": "make a word list: the English words of a vocabulary",
    "gin_path": "print the folder of the package's gin files",
}
_ELSEWHERE = {
    "filter_vocabulary": "words.filter_vocabulary",
    # Not inspect, which is a module of Python's own.
    "inspect": "inspect_path",
}

# Control characters, with which a terminal can be told to do other things than to show
# text; those that turn the direction of writing; and halves of characters.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    r"\ud800-\udfff]"
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_OF_DISK = (errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE)
# What TensorFlow puts around the message of an error in one of its operations.
_OPERATION = re.compile(r"^\{\{.*?\}\} | \[Op:.*\].*$")
_IN_GIN = "\n  In call to configurable"


def printable(text: str) -> str:
    """Returns a text for a terminal: a control character, as in the name of a file or
    of an array that somebody else chose, is shown as its code.
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class _Printable(io.TextIOBase):
    """A stream that shows control characters as their codes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def __getattribute__(self, name: str) -> Any:
        # Of anything else, the base class has only the names.
        if name in ("encoding", "errors", "fileno", "isatty", "buffer"):
            return getattr(self._stream, name)
        return super().__getattribute__(name)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def parser(command: str, usage: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for a command, described by its module's docstring.

    Args:
      command: the command's name in the console script.
      usage: a short form of the flags; the help explains all of them.
      doc: the description.
    """
    made = _Parser(
        prog=f"prompt-recycling {command}",
        usage=f"%(prog)s {usage}",
        description=doc,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    # From Python 3.14 on; `_Printable` would show the codes of colors.
    made.color = False  # type: ignore[attr-defined]
    return made


def boolean(text: str) -> bool:
    """Reads the value of `--flag=false` as absl does; use it as argparse's `type`."""
    values = {
        "true": True,
        "t": True,
        "1": True,
        "false": False,
        "f": False,
        "0": False,
    }
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
    return values[text.lower()]


class _HelpFormatter(
    argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter
):
    """Keeps the docstring's lines and shows every flag's default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or action.required:
            return action.help
        return super()._get_help_string(action)


def run(
    main: Callable[[Sequence[str] | None], None], arguments: Sequence[str] | None = None
) -> int:
    """Runs `main` and turns a user's mistake into one line and an exit code.

    It does the same for a full disk, an object store that cannot be reached, and a
    standard output that cannot be written to. Other errors, which may be bugs, keep
    their traceback.

    Returns:
      0 if it worked; 1 if the input could not be used or the output could not be
      written; 130 if it was interrupted; 141 if the reader of the standard output
      stopped reading, as `head` does. A shell reports 130 and 141 for programs that
      these signals end. (argparse exits with 2 if it cannot parse the flags.)
    """
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(_Formatter("%(message)s"))
    logger = logging.getLogger("prompt_tuning_recycling")
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # The terminal may lack the characters of some vocabulary pieces.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    stop = None
    try:
        code = _code(main, arguments)
    except SystemExit as error:  # From argparse, after --help or wrong flags.
        stop, code = error, 2 if error.code else 0
    finally:
        logger.removeHandler(log)
    unprinted = _unprinted()
    if unprinted is not None and code == 0:
        return _not_printed(unprinted)
    if stop is not None:
        raise stop
    return code


def _code(
    main: Callable[[Sequence[str] | None], None], arguments: Sequence[str] | None
) -> int:
    shown = None if sys.stdout is None else _Printable(sys.stdout)
    try:
        with contextlib.redirect_stdout(shown):
            main(arguments)
    except RecyclingError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except storage_errors() as error:
        unprinted = _unprinted()
        if unprinted is None and isinstance(error, BrokenPipeError) and _nobody_reads():
            unprinted = error
        if unprinted is not None:
            return _not_printed(unprinted)
        return _failed(explained(error))
    return 0


def _failed(message: str) -> int:
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return 1


def _unprinted() -> OSError | None:
    """Flushes the standard output and returns the error if that fails. In that case
    Python cannot report the same error again when it exits.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return error
    return None


def _not_printed(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    return _failed(
        f"cannot write to the standard output: {reason(error)}. Make room, or send it "
        "elsewhere."
    )


def _nobody_reads() -> bool:
    """Whether the standard output is a pipe that has lost its reader."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def without_gin(error: Exception) -> str:
    """Returns an error's message without the functions that it passed through, which
    gin adds.
    """
    return str(error).partition(_IN_GIN)[0]


def explained(error: Exception) -> str:
    """Returns the message for an error that storage is known to raise.

    Raises:
      Exception: the error itself, if it is any other one.
    """
    found = error
    # Gin raises a copy that has more text but lacks an OSError's number and file.
    while _IN_GIN in str(found) and isinstance(found.__context__, Exception):
        found = found.__context__
    # TensorFlow reports the errors of disks in this form, too; they name the path.
    of_tensorflow = type(found).__module__.startswith("tensorflow")
    if of_tensorflow and isinstance(found, store_errors()) and "://" not in str(found):
        return (
            f"cannot read or write {_OPERATION.sub('', reason(found))}. Make room, "
            "check the disk and the permissions, or choose another place."
        )
    file = found.filename if isinstance(found, OSError) else None
    of_store = isinstance(file, str) and is_remote(file)
    if of_store or isinstance(found, store_errors()):
        where = file if of_store else "an object store"
        return (
            f"cannot use {where}: {reason(found)}. Check the address, the network and "
            "your credentials."
        )
    if not isinstance(found, OSError) or found.errno not in _NO_ROOM + _OF_DISK:
        raise error
    where = os.fsdecode(found.filename2 or found.filename or "a file")
    if found.errno in _OF_DISK:
        return (
            f"cannot read or write {where}: {reason(found)}. Check the disk and the "
            "permissions, or choose another place."
        )
    if found.filename is None:
        where = "to a file or to the standard output"
    return (
        f"cannot write {where}: {reason(found)}. Make room, or choose another place to "
        "write to."
    )


@contextlib.contextmanager
def silent_unless_it_fails() -> Iterator[None]:
    """Holds back what is written to the process's error stream, unless an error is
    raised. Importing TensorFlow, which seqio needs, writes ten lines there under any
    settings.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stream = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stream, held_back.read())
            raise
        finally:
            os.dup2(stream, 2)
            os.close(stream)


def console_script() -> int:
    """The console script: `prompt-recycling COMMAND [flags]`."""
    commands = argparse.ArgumentParser(
        prog="prompt-recycling",
        description="Carry soft prompts from one language model to another.",
        epilog="`prompt-recycling COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands.add_argument("--version", action="version", version=_version())
    subcommands = commands.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands"
    )
    for name, purpose in COMMANDS.items():
        subcommands.add_parser(name, help=purpose, add_help=False)
    command = commands.parse_args(sys.argv[1:2]).command
    place = _ELSEWHERE.get(command, command)
    module = importlib.import_module(f"prompt_tuning_recycling.{place}")
    return run(module.main, sys.argv[2:])


def _version() -> str:
    return f"prompt_tuning_recycling {__version__}"
