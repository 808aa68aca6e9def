"""Runs commands in a process that has imported all that is slow to import, or each in
a process forked from that one, which may be killed. Disturbs them at points that are
known (see shim.c) or at moments.

    LD_PRELOAD=shim.so python server.py SHIM MODULE...

imports the modules, then reads orders from standard input, one JSON object a line:

    {"module": "...", "arguments": [...], "below": FOLDER, "log": FILE, "state": FILE,
     "how": 0..4, "at": N, "error": ERRNO, "fork": BOOL, "after": SECONDS}

and answers each by a line `{"code": ..., "hung": ...}`. The code is negative for a
process that a signal has ended. With `after`, the process is killed so many seconds
after its first call that the shim counts.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time

import commands

_LONGEST = 120  # Seconds after which a command counts as hung.


def serve(shim_path: str, modules: list[str]) -> None:
    for module in modules:
        importlib.import_module(module)
    shim = ctypes.CDLL(shim_path)
    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = _in_a_fork(shim, order) if order["fork"] else _here(shim, order)
        print(json.dumps(answer), file=answers, flush=True)


def _in_a_fork(shim: ctypes.CDLL, order: dict) -> dict:
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = _run(shim, order)
        finally:
            os._exit(code)
    hung = _watched(child, order)
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "hung": hung}


def _here(shim: ctypes.CDLL, order: dict) -> dict:
    """Once everything is compiled, this takes a fraction of the time."""
    streams = [os.dup(stream) for stream in (1, 2)]
    code = _run(shim, order)
    # Of a command that has failed, what it had open is closed as its process would.
    gc.collect()
    for stream, before in zip((1, 2), streams, strict=True):
        os.dup2(before, stream)
        os.close(before)
    return {"code": code, "hung": False}


def _run(shim: ctypes.CDLL, order: dict) -> int:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    shim.shim_arm(
        os.fsencode(order["below"]),
        os.fsencode(order["state"]),
        order["how"],
        ctypes.c_long(order["at"]),
        order["error"],
    )
    try:
        return commands.run(order["module"], order["arguments"])
    except BaseException:
        # What Python does at the end of a program.
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        shim.shim_disarm()


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
