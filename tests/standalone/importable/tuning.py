"""A program to be killed: the same as the command line, in a process that has imported
all that is slow to import before it was forked.
"""

import os
import sys

import tiny_tasks  # noqa: F401

import prompt_tuning_recycling.standalone.training  # noqa: F401
from prompt_tuning_recycling.standalone import train


def run(arguments, log):
    """Tunes; everything that it writes goes to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    code = train.main(arguments)
    sys.stdout.flush()
    os._exit(code)
