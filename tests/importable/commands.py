"""Runs command lines in the process that asks for it."""

import importlib

from prompt_tuning_recycling import command_line


def run(module, arguments):
    """Returns the exit code of `python -m MODULE ARGUMENTS`."""
    main = importlib.import_module(module).main
    # The programs of the standalone host return a code, the others need `run` for it.
    if module.startswith("prompt_tuning_recycling.standalone"):
        return main(arguments)
    return command_line.run(main, arguments)
