"""Runs commands, each in a process forked from one that has imported all that is slow to
import, and disturbs them at points that are known (see shim.c) or at moments.

    LD_PRELOAD=shim.so python server.py SHIM MODULE...

imports the modules, then reads orders from standard input, one JSON object a line:

    {"module": "...", "arguments": [...], "below": FOLDER, "log": FILE, "state": FILE,
     "how": 0..4, "at": N, "error": ERRNO, "after": SECONDS}

and answers each by a line `{"code": ..., "hung": ...}`. The code is negative for a
process that a signal has ended. With `after`, the process is killed so many seconds after
its first call that the shim counts.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time

_LONGEST = 120  # Seconds after which a command counts as hung.


def serve(shim_path: str, modules: list[str]) -> None:
    for module in modules:
        importlib.import_module(module)
    shim = ctypes.CDLL(shim_path)
    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(shim, order)
        hung = _watched(child, order)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "hung": hung}), file=answers, flush=True)


def _run(shim: ctypes.CDLL, order: dict) -> None:
    """What the child does; it does not return."""
    code = 99
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        main = importlib.import_module(order["module"]).main
        shim.shim_arm(
            os.fsencode(order["below"]),
            os.fsencode(order["state"]),
            order["how"],
            ctypes.c_long(order["at"]),
            order["error"],
        )
        code = _code(main, order["arguments"])
    except BaseException:
        # What Python does at the end of a program; this process goes on to be the
        # server otherwise.
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _code(main, arguments: list[str]) -> int:
    from prompt_tuning_recycling import command_line

    # The programs of the standalone host return a code, the others need `run` for it.
    if main.__module__.startswith("prompt_tuning_recycling.standalone"):
        return main(arguments)
    return command_line.run(main, arguments)


def _watched(child: int, order: dict) -> bool:
    """Waits for a child without reaping it, and kills it when its time has come."""
    started = time.monotonic()
    after, begun = order.get("after"), None
    with open(order["state"], "rb", buffering=0) as state:
        while True:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return False
            now = time.monotonic()
            if now - started > _LONGEST:
                os.kill(child, signal.SIGKILL)
                return True
            if after is not None:
                if begun is None and any(os.pread(state.fileno(), 8, 0)):
                    begun = now
                if begun is not None and now - begun >= after:
                    os.kill(child, signal.SIGKILL)
                    return False
            time.sleep(0.0005 if after is not None else 0.005)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
