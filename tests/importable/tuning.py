"""A program to be killed: the same as the command line, in a process that has imported
all that is slow to import before it was forked.
"""

import os
import signal
import sys

import tiny_tasks  # noqa: F401

import prompt_tuning_recycling.standalone.training  # noqa: F401
from prompt_tuning_recycling.standalone import train

# What changes what is on the disk, of the events that Python tells of.
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


def run(arguments, log, folder, changes, kill_at=(None, "")):
    """Tunes; everything that it writes goes to a file.

    Args:
      arguments: of the command line.
      log: a file for its output.
      folder: the run's.
      changes: a file that lists the changes in the folder, a line each.
      kill_at: (number, text): the process kills itself before it makes so many
        changes to paths that hold the text, counted from 0; None for never.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    listed = os.open(changes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    number, text = kill_at
    made = 0

    def on_event(event, details):
        nonlocal made
        if event not in _CHANGES and not (event == "open" and _writes(details)):
            return
        path = str(details[0])
        if not path.startswith(folder):
            return
        if text in path:
            if made == number:
                os.kill(os.getpid(), signal.SIGKILL)
            made += 1
        os.write(listed, f"{event} {path}\n".encode())

    sys.addaudithook(on_event)
    code = train.main(arguments)
    sys.stdout.flush()
    os._exit(code)


def _writes(details):
    _, mode, flags = details
    return bool(flags & (os.O_WRONLY | os.O_RDWR)) and mode != "r"
