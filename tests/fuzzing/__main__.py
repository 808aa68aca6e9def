"""Fuzzes every reader for a while, one after the other, and prints what was found.

    python -m tests.fuzzing [--seconds=60] [--findings=FOLDER] [READER ...]

Each runs in a process of its own, with a limit on its memory, whose files are in
memory, too. A process that dies is a finding, and another goes on in its place.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

from .campaign import ALL, fuzz
from .seeds import in_memory

# Of one reader: by then it is known not to be safe.
_MOST_DEATHS = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzzing", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER")
    parser.add_argument("--seconds", type=float, default=60, help="for each reader")
    parser.add_argument("--findings", type=pathlib.Path, default="build/findings")
    flags = parser.parse_args()
    for name in flags.readers:
        if name not in ALL:
            parser.error(f"there is no reader {name}; there are {', '.join(ALL)}")
    print(f"{'reader':22} {'executions':>10} {'a second':>8}  findings", flush=True)
    total, found = 0, 0
    for name in flags.readers or ALL:
        done, seconds, texts = _fuzz(name, flags.seconds, flags.findings / name)
        total, found = total + done, found + len(texts)
        print(f"{name:22} {done:10,} {done / seconds:8.0f}  {len(texts)}", flush=True)
        for text in texts:
            print(f"    {text}", flush=True)
    print(f"{'all':22} {total:10,}           {found}")
    if found:
        print(f"The inputs are in {flags.findings}.")
    return 1 if found else 0


def _fuzz(
    name: str, seconds: float, findings: pathlib.Path
) -> tuple[int, float, list[str]]:
    """Returns how often a reader ran, for how long, and what was found."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-", dir=in_memory()))
    started = time.monotonic()
    deaths = []
    try:
        while (left := seconds - (time.monotonic() - started)) > 1:
            code = _in_a_process(name, left, folder)
            if code == 0:
                break
            last = (folder / "log").read_text(errors="replace").splitlines()[-3:]
            deaths.append(f"the process died ({code}): {' / '.join(last)[:300]}")
            if len(deaths) == _MOST_DEATHS:
                break
            # What it had found before may kill it again.
            shutil.rmtree(folder / "corpus", ignore_errors=True)
        taken = time.monotonic() - started
        counted = folder / "executions"
        done = int(counted.read_text()) if counted.exists() else 0
        texts = sorted((folder / "findings").glob("*.txt"))
        found = [text.read_text().splitlines()[0] for text in texts]
        if found or deaths:
            shutil.copytree(folder / "findings", findings, dirs_exist_ok=True)
        return done, taken, [*found, *deaths]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_a_process(name: str, seconds: float, folder: pathlib.Path) -> int:
    """Fuzzes in a copy of this process, which has imported all; returns its exit code,
    or the number of the signal that ended it, negative.
    """
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            fuzz(name, seconds, folder)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    raise SystemExit(main())
