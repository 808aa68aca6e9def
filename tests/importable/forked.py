"""Runs a command line in a process that had imported all that is slow to import before
it was forked; see tests/programs.py.
"""

import os
import sys

import commands
import gcsfs  # noqa: F401
import s3fs  # noqa: F401
import tensorflow as tf
import tiny_tasks  # noqa: F401

import prompt_tuning_recycling.convert
import prompt_tuning_recycling.standalone.choosing
import prompt_tuning_recycling.standalone.inference
import prompt_tuning_recycling.standalone.prompt_evaluation
import prompt_tuning_recycling.standalone.training
import prompt_tuning_recycling.sweep.engine
import prompt_tuning_recycling.sweep.work  # noqa: F401


def run(module, arguments, environment, out, error, prepare=None):
    """Runs it, and ends the process.

    Args:
      module: as after `python -m`.
      arguments: its flags.
      environment: the variables.
      out, error: files for what it prints.
      prepare: is called first.
    """
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in enumerate((out, error), start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(descriptor, stream)
    code = 1
    try:
        if prepare is not None:
            prepare()
        # Each process would spend seconds on rewriting seqio's functions, none of which
        # needs it.
        code = tf.autograph.experimental.do_not_convert(commands.run)(module, arguments)
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
