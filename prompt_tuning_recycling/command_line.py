"""What the package's command lines share: flags that explain themselves, errors
on one line, and the console script `prompt-recycling` that offers them all.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from prompt_tuning_recycling.errors import RecyclingError

# Modules, not functions: only the one that is asked for is imported.
COMMANDS = {
    "run_recycle": "recycle one prompt for another model",
    "recycle": "recycle many prompts between many models",
    "collect_recycling_results": "collect what that came to in tables",
    "report": "show it on a page",
    "filter_vocabulary": "make a word list: the English words of a vocabulary",
    "gin_path": "print the folder of the package's gin files",
}


def parser(command: str, usage: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for a command, described by its module's docstring.

    Args:
      command: its name among the console script's commands.
      usage: the flags in short; the help explains them all.
      doc: the description.
    """
    return argparse.ArgumentParser(
        prog=f"prompt-recycling {command}",
        usage=f"%(prog)s {usage}",
        description=doc,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )


def boolean(text: str) -> bool:
    """Reads a flag's value as absl does, `--flag=false`; for argparse's `type`."""
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
    """Runs `main`, turning an error of the user's into one line and an exit code.

    Returns:
      0 if it worked, 1 if the input could not be used, 130 if interrupted.
      (Flags that cannot be parsed exit with 2, as argparse does it.)
    """
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("prompt_tuning_recycling")
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        main(arguments)
    except RecyclingError as error:
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        logger.removeHandler(log)
    return 0


@contextlib.contextmanager
def silent_unless_it_fails() -> Iterator[None]:
    """Holds back what is written to the process's error stream: importing TensorFlow,
    which seqio reads data with, writes ten lines there whatever it is told.
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
    module = importlib.import_module(f"prompt_tuning_recycling.{command}")
    return run(module.main, sys.argv[2:])


def _version() -> str:
    from prompt_tuning_recycling import __version__

    return f"prompt_tuning_recycling {__version__}"
