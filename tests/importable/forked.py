"""Runs a program of the standalone host in a process that has imported all that is slow
to import before it was forked.
"""

import importlib
import os
import sys

import gcsfs  # noqa: F401
import s3fs  # noqa: F401
import tiny_tasks  # noqa: F401

import prompt_tuning_recycling.standalone.choosing
import prompt_tuning_recycling.standalone.inference
import prompt_tuning_recycling.standalone.prompt_evaluation
import prompt_tuning_recycling.standalone.training  # noqa: F401


def run(program, arguments, environment, log):
    """Runs a command line; everything that it prints goes to a file.

    Args:
      program: `train`, `eval`, ...
      arguments: its flags.
      environment: variables that differ from this process's.
      log: the file, which gets a line with the process's id first.
    """
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    module = f"prompt_tuning_recycling.standalone.{program}"
    code = importlib.import_module(module).main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
