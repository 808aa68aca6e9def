"""Fixtures: command lines in processes of their own, which have not to import what is
slow to import: they are forked from one that has.
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

IMPORTABLE = pathlib.Path(__file__).resolve().parent / "importable"
_LONGEST = 300  # Seconds after which a program counts as hung.


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended: negative codes are signals."""

    code: int
    out: str
    error: str


@dataclasses.dataclass(frozen=True)
class Program:
    """A command line that runs."""

    process: Any
    out: pathlib.Path
    error: pathlib.Path

    def end(self) -> Ended:
        """Waits for it."""
        self.process.join(_LONGEST)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"hangs: {self.error.read_text()}")
        text = (path.read_text() for path in (self.out, self.error))
        return Ended(self.process.exitcode, *text)

    def kill(self) -> None:
        """Kills it, and waits until it has ended."""
        self.process.kill()
        self.process.join()

    def wait_for(self, text: str) -> None:
        """Waits until it has printed a text."""
        while True:
            is_alive = self.process.is_alive()
            for path in (self.out, self.error):
                if path.exists() and text in path.read_text():
                    return
            assert is_alive, f"it never printed {text!r}: {self.error.read_text()}"
            time.sleep(0.005)


def stop_at(how: str, event: str, number: int, text: str) -> Callable[[], None]:
    """What `start_program` calls to have a process killed or held; see
    importable/killed.py.
    """
    import killed

    return functools.partial(killed.stop_at, how, event, number, text)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> dict[str, str]:
    """The variables that let processes share what JAX has compiled."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    return {
        "JAX_COMPILATION_CACHE_DIR": folder or str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


@pytest.fixture
def start_program(
    tmp_path_factory, monkeypatch, compiled
) -> Iterator[Callable[..., Program]]:
    """Starts `python -m MODULE` with arguments, on the CPU. `prepare` is called in its
    process first; it must be importable there. What still runs at the end is killed.
    """
    # Where the process that is forked looks, and what those find that it starts.
    if str(IMPORTABLE) not in sys.path:
        monkeypatch.syspath_prepend(IMPORTABLE)
    monkeypatch.setenv("PYTHONPATH", str(IMPORTABLE), prepend=os.pathsep)
    for name, value in {**compiled, "JAX_PLATFORMS": "cpu"}.items():
        monkeypatch.setenv(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forked"])
    import forked

    folder = tmp_path_factory.mktemp("printed")
    started: list[Program] = []

    def start(module, arguments, prepare=None) -> Program:
        out, error = (folder / f"{name}-{len(started)}" for name in ("out", "error"))
        process = context.Process(
            target=forked.run,
            args=(module, arguments, dict(os.environ), out, error, prepare),
        )
        process.start()
        started.append(Program(process, out, error))
        return started[-1]

    yield start
    for program in started:
        program.kill()
