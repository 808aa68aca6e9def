"""Ends the process that calls, or lets it stand still, at a point that is known."""

import os
import signal
import sys
import threading

# What changes what is on the disk, of the events that Python tells of.
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


def stop_at(how, event, number, text):
    """Just before the Nth time that the process makes, or renames to, a path.

    Args:
      how: `kill` or `hold`. Held, it says so in a line on standard output, and makes
        no further such paths.
      event: `os.rename` or `os.mkdir`.
      number: N, from 1.
      text: the path holds it.
    """
    seen = 0
    counting = threading.Lock()

    def hook(name, details):
        nonlocal seen
        # Python reports these calls before they are made.
        if name != event:
            return
        if text not in os.fspath(details[1 if event == "os.rename" else 0]):
            return
        with counting:
            seen += 1
            reached, first = seen >= number, seen == number
        if reached and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if reached:
            if first:
                os.write(1, b"held\n")
            threading.Event().wait()

    sys.addaudithook(hook)


def list_changes(folder, changes, number=None, text=""):
    """Lists the changes in a folder, and ends the process among them.

    Args:
      folder: all that is changed below it counts.
      changes: a file, which gets a line for each.
      number: the process is killed before it makes so many changes, from 0; None for
        never.
      text: those count whose paths hold it.
    """
    listed = os.open(changes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    made = 0

    def hook(event, details):
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

    sys.addaudithook(hook)


def _writes(details):
    _, mode, flags = details
    return bool(flags & (os.O_WRONLY | os.O_RDWR)) and mode != "r"
