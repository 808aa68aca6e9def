"""Disturbs a writer again and again, and says after each time what is wrong.

A writer is a command and what its readers see of its outputs. It is disturbed by
kill -9, at moments and before or in the middle of system calls, and by calls that
fail or are cut short. After each disturbance

- every output is what it was before or what an undisturbed run makes of it;
- no reader trips, and inputs are untouched;
- the command has ended with one line that names the path and the reason (unless it was
  killed, or had no need to fail);
- the same command, started again, makes what an undisturbed run makes, and leaves
  nothing behind that the undisturbed run does not.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..conftest import importable_environment

COUNT, KILL, CUT, FAULT, SHORT = range(5)
# In the order of shim.c.
CALLS = (
    "open",
    "create",
    "write",
    "fsync",
    "rename",
    "mkdir",
    "unlink",
    "link",
    "resize",
    "chmod",
)
FAULTS = {
    "ENOSPC": (FAULT, errno.ENOSPC),
    "EIO": (FAULT, errno.EIO),
    "EACCES": (FAULT, errno.EACCES),
    "short": (SHORT, 0),
}
LONGEST = 120  # Seconds after which a command counts as hung.
_NEVER = 10**9
HERE = pathlib.Path(__file__).parent


def build_shim(folder: pathlib.Path) -> pathlib.Path | None:
    """Compiles the shim; returns None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    shim = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", shim, HERE / "shim.c", "-ldl"]
    subprocess.run(command, check=True)
    return shim


@dataclasses.dataclass
class Writer:
    """A command that writes.

    Attributes:
      module: its module, which has a `main`.
      arguments: its command line.
      out: the folder of its outputs.
      inputs: files and folders that it reads.
      seen: reads the outputs as the package's readers do; name -> what it is, whole.
        Whatever it raises is a finding.
      earlier: makes earlier outputs, by the function that runs a command line.
      whole: a command line that makes the same, and keeps what is there for a while.
      is_slow: whether of several writes in a row only the first and the last fail.
      replaces_nothing: whether it refuses to start where its output is whole.
    """

    module: str
    arguments: list[str]
    out: pathlib.Path
    inputs: Sequence[pathlib.Path]
    seen: Callable[[], dict[str, Any]]
    earlier: Callable[[Callable[[list[str]], None]], None] | None = None
    whole: list[str] | None = None
    is_slow: bool = False
    replaces_nothing: bool = False


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command has ended.

    Attributes:
      code: its exit code; negative for a signal.
      log: what it printed, standard output and errors together.
      calls: the names of the calls that were counted.
      reached: whether the disturbance has come.
      seconds: from the first of these calls to the last.
    """

    code: int
    log: str
    calls: list[str]
    reached: bool
    seconds: float


class Watched:
    """The memory that a watched process shares: `struct state` of shim.c, in a file."""

    _HEADER = struct.Struct("@qqdd")
    _MOST_CALLS = 4000

    def __init__(self, path: pathlib.Path):
        self.path = path
        path.write_bytes(bytes(self._HEADER.size + self._MOST_CALLS))

    def read(self) -> Ended:
        """What was counted; the code and the log are not known here."""
        data = self.path.read_bytes()
        calls, reached, first, last = self._HEADER.unpack_from(data)
        start = self._HEADER.size + 1
        made = data[start : start + min(calls, self._MOST_CALLS - 1)]
        return Ended(0, "", [CALLS[n] for n in made], bool(reached), last - first)


class Server:
    """Two processes that have imported everything: one to run commands in, and one to
    fork from, in which nothing has run, since threads do not survive a fork. See
    server.py.
    """

    def __init__(
        self, shim: pathlib.Path, folder: pathlib.Path, modules: Sequence[str]
    ):
        self._folder, self._shim, self._modules = folder, shim, modules
        self._processes: dict[bool, subprocess.Popen] = {}

    def _process(self, fork: bool) -> subprocess.Popen:
        if fork not in self._processes:
            self._processes[fork] = self._start()
        return self._processes[fork]

    def _start(self) -> subprocess.Popen:
        environment = {
            **importable_environment(),
            "LD_PRELOAD": str(self._shim),
            "JAX_PLATFORMS": "cpu",
            "OPENBLAS_NUM_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # Few threads, since several such processes share the processors.
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
            "TF_NUM_INTRAOP_THREADS": "1",
            "JAX_COMPILATION_CACHE_DIR": str(self._folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        process = subprocess.Popen(
            [sys.executable, HERE / "server.py", self._shim, *self._modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert process.stdout.readline() == "ready\n"
        return process

    def run(
        self,
        writer: Writer,
        arguments: Sequence[str] | None = None,
        *,
        how: int = COUNT,
        at: int = 0,
        error: int = 0,
        after: float | None = None,
    ) -> Ended:
        fork = how in (KILL, CUT) or after is not None
        watched, log = Watched(self._folder / "state"), self._folder / "log"
        order = {
            "module": writer.module,
            "arguments": list(writer.arguments if arguments is None else arguments),
            "below": str(writer.out),
            "log": str(log),
            "state": str(watched.path),
            "how": how,
            "at": at,
            "error": error,
            "fork": fork,
            "after": after,
        }
        process = self._process(fork)
        print(json.dumps(order), file=process.stdin, flush=True)
        answer = json.loads(self._answer(process, order))
        text = log.read_text(errors="replace")
        assert not answer["hung"], f"{order}\n{text}"
        return dataclasses.replace(watched.read(), code=answer["code"], log=text)

    def _answer(self, process: subprocess.Popen, order: dict) -> str:
        if not select.select([process.stdout], [], [], 2 * LONGEST)[0]:
            process.kill()
            raise AssertionError(f"hangs: {order}")
        return process.stdout.readline()

    def close(self) -> None:
        for process in self._processes.values():
            process.stdin.close()
            process.wait()


@dataclasses.dataclass
class Counts:
    """How often a writer was disturbed, and what was found.

    Attributes:
      kills: how many times it was killed, by how: `moment`, `call`.
      faults: how many system calls failed, by error.
      calls: how many calls an undisturbed run makes.
      findings: what was wrong, a line each.
    """

    kills: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    faults: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    calls: int = 0
    findings: list[str] = dataclasses.field(default_factory=list)

    def save(self, path: pathlib.Path) -> None:
        path.write_text(json.dumps(vars(self), indent=1))


class Disturber:
    """Disturbs one writer, from one state of the outputs before."""

    def __init__(
        self,
        server: Server,
        writer: Writer,
        is_new: bool,
        saved: pathlib.Path | None = None,
    ):
        """Makes the outputs of before (none if `is_new`), and runs it undisturbed. The
        counts so far are saved to a file, if one is given.
        """
        self._server, self._writer, self._saved = server, writer, saved
        self._kept = writer.out.with_name(writer.out.name + "-of-before")
        self.counts = Counts()
        if not is_new:
            writer.earlier(self._run_earlier)
        if writer.out.exists():
            shutil.copytree(writer.out, self._kept, symlinks=True)
        self._old = writer.seen()
        self._inputs = _digest(writer.inputs)
        self._for_a_while: dict[str, Any] = {}
        if writer.whole is not None:
            assert server.run(writer, writer.whole).code == 0
            self._for_a_while = writer.seen()
            self._reset()
        whole = server.run(writer)
        assert whole.code == 0, whole.log
        self._calls, self._seconds = len(whole.calls), whole.seconds
        self.counts.calls = self._calls
        self._new = writer.seen()
        self._left = _temporary(writer.out)
        assert self._new and self._new != self._old
        lasting = {*self._old, *self._new}
        self._for_a_while = {
            name: value
            for name, value in self._for_a_while.items()
            if name not in lasting or name.startswith("checkpoint")
        }

    def _run_earlier(self, arguments: list[str]) -> None:
        ended = self._server.run(self._writer, arguments)
        assert ended.code == 0, ended.log

    def kill(self, count: int, rng: random.Random) -> None:
        """Kills it `count` times, half of them at random moments, half at calls."""
        for number in range(4 * count):
            if self.counts.kills.total() == count:
                break
            self._reset()
            if number % 2:
                options = {"after": rng.uniform(0, 1.05 * self._seconds)}
                kind = f"at {options['after']:.4f} s"
            else:
                how = rng.choice((KILL, CUT))
                options = {"how": how, "at": rng.randint(1, self._calls)}
                kind = f"{'before' if how == KILL else 'in'} call {options['at']}"
            ended = self._server.run(self._writer, **options)
            if ended.code == -signal.SIGKILL:
                self.counts.kills["moment" if number % 2 else "call"] += 1
            self._check(f"killed {kind}", ended, may_fail=False)

    def fail(self, every: int = 1) -> None:
        """Fails its first call, its second, and so on to the last; or every one of so
        many, beginning with another one for each error.
        """
        for first, (name, (how, error)) in enumerate(FAULTS.items()):
            self._reset()
            # Counts the calls that may fail so, and reaches none.
            calls = self._server.run(
                self._writer, how=how, at=_NEVER, error=error
            ).calls
            for number in self._numbers(calls)[first % every :: every]:
                self._reset()
                ended = self._server.run(self._writer, how=how, at=number, error=error)
                # The threads of some writers do not always make as many calls.
                if ended.reached:
                    self.counts.faults[name] += 1
                    what = f"{name} at call {number}, {ended.calls[number - 1]}"
                    self._check(what, ended, may_fail=True, error=error)

    def _numbers(self, calls: list[str]) -> list[int]:
        """The calls to fail: all, or of several writes in a row the first and last."""
        padded = ["", *calls, ""]
        return [
            number
            for number in range(1, len(calls) + 1)
            if not self._writer.is_slow
            or set(padded[number - 1 : number + 2]) != {"write"}
        ]

    def _reset(self) -> None:
        shutil.rmtree(self._writer.out, ignore_errors=True)
        if self._kept.exists():
            shutil.copytree(self._kept, self._writer.out, symlinks=True)

    def _check(self, what: str, ended: Ended, may_fail: bool, error: int = 0) -> None:
        found = list(self._wrong(ended, may_fail, error))
        if not self._is_finished():
            again = self._server.run(self._writer)
            if again.code != 0:
                found.append(f"started again, it fails: {again.log[-600:]}")
            else:
                found += self._wrong_at_the_end("started again")
        self.counts.findings += [f"{what}: {one}" for one in found]
        if self._saved is not None:
            self.counts.save(self._saved)

    def _is_finished(self) -> bool:
        return self._writer.replaces_nothing and not list(
            self._wrong_at_the_end("", leftovers=False)
        )

    def _wrong(self, ended: Ended, may_fail: bool, error: int) -> Iterator[str]:
        if ended.code == 0:
            yield from self._wrong_at_the_end("ended with 0", leftovers=False)
        elif ended.code == -signal.SIGKILL and not may_fail:
            pass
        elif not may_fail:
            yield f"exit code {ended.code}: {ended.log[-600:]}"
        else:
            yield from self._wrong_message(ended, error)
        yield from self._wrong_outputs()

    def _wrong_outputs(self) -> Iterator[str]:
        if _digest(self._writer.inputs) != self._inputs:
            yield "the inputs have changed"
        try:
            seen = self._writer.seen()
        except Exception as raised:
            yield f"a reader trips: {type(raised).__name__}: {raised}"
            return
        for name in {**self._old, **self._new, **seen}:
            known = [self._old.get(name), self._new.get(name)]
            if name in self._for_a_while:
                known += [None, self._for_a_while[name]]
            if seen.get(name) not in known:
                yield f"{name} is neither as before nor as it will be: " + (
                    "gone" if name not in seen else str(seen[name])[:200]
                )

    def _wrong_message(self, ended: Ended, error: int) -> Iterator[str]:
        lines = ended.log.strip().splitlines() or [""]
        reason = os.strerror(error) if error else ""
        if ended.code != 1:
            yield f"exit code {ended.code}: {ended.log[-600:]}"
        elif "Traceback" in ended.log:
            yield f"a traceback: {ended.log[-1500:]}"
        elif not lines[-1].startswith("error: "):
            yield f"the last line is no error: {lines[-1]}"
        else:
            told = [line for line in lines if reason in line]
            if not any(str(self._writer.out) in line for line in told):
                yield f"path and reason are not named: {' | '.join(lines[-3:])}"

    def _wrong_at_the_end(self, when: str, leftovers: bool = True) -> Iterator[str]:
        try:
            seen = self._writer.seen()
        except Exception as raised:
            yield f"{when}, a reader trips: {type(raised).__name__}: {raised}"
            return
        for name in {**self._new, **seen}:
            if seen.get(name) != self._new.get(name):
                yield f"{when}, {name} is not as of an undisturbed run"
        left = _temporary(self._writer.out) - self._left
        if leftovers and left:
            yield f"{when}, it leaves {', '.join(sorted(left))}"


def _temporary(folder: pathlib.Path) -> set[str]:
    """Names of temporary files and folders below a folder, their random parts out. The
    folder in which commands of a sweep meet may stay.
    """
    return {
        re.sub(r"[0-9a-z_]{8,}", "*", str(path.relative_to(folder)))
        for path in folder.rglob("*")
        if path.name != ".sweep"
        and (path.name.startswith((".", "old.", "tmp.")) or "tmp" in path.name)
    }


def _digest(paths: Sequence[pathlib.Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in below:
            found.update(str(file).encode())
            if file.is_file():
                found.update(file.read_bytes())
    return found.hexdigest()


def digest(data: bytes) -> str:
    """A short name for a content, so that messages stay short."""
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:16]}"
