"""Runs a program that ends, or stands still, at a point that is known: just before the
Nth time that it makes, or renames to, a path that holds a text.

    python -m killed {kill,hold} {os.rename,os.mkdir} NUMBER TEXT MODULE [flags]

Held, it says so in a line on standard output, and makes no further such paths.
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    how, at, number, text, module, *flags = sys.argv[1:]
    seen = 0
    counting = threading.Lock()

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        # Python reports these calls before they are made.
        if event != at or text not in os.fspath(args[1 if at == "os.rename" else 0]):
            return
        with counting:
            seen += 1
            reached = seen >= int(number)
            first = seen == int(number)
        if reached and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if reached:
            if first:
                os.write(1, b"held\n")
            threading.Event().wait()

    sys.addaudithook(hook)
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


main()
