"""Fuzzes one reader, guided by coverage, until its time is over or the process dies."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pathlib
import random
import resource
import sys
import tempfile

import atheris

# Atheris names each module on the error stream.
with (
    contextlib.redirect_stderr(io.StringIO()),
    atheris.instrument_imports(include=["prompt_tuning_recycling"]),
):
    from . import mutations, watching
    from .targets import ALL

_LONGEST = 1 << 14
# So many executions are between two notes of how many there were.
_COUNTED = 25
# What the process may reserve beyond what it has when it begins, so that a reader that
# takes everything takes nothing from others.
_MOST_ADDRESSES = 6 << 30


def fuzz(name: str, seconds: float, folder: pathlib.Path) -> None:
    """Fuzzes a reader. libFuzzer ends the process.

    Args:
      name: the reader.
      seconds: how long.
      folder: where executions are counted, in `executions`, and where each kind of
        finding is written once, in `findings/`: the input, and what the reader did.
        libFuzzer writes there the input at which the process died or hung.
    """
    target = ALL[name]
    # Goes with the folder, since libFuzzer ends the process without cleaning up.
    tempfile.tempdir = os.fspath(folder)
    logging.disable(logging.CRITICAL)
    corpus, findings = folder / "corpus", folder / "findings"
    for made in (corpus, findings):
        made.mkdir(parents=True, exist_ok=True)
    inputs = target.inputs()
    for number, data in enumerate(inputs):
        (corpus / f"seed-{number}").write_bytes(data)
    counted = folder / "executions"
    done = int(counted.read_text()) if counted.exists() else 0
    scratch = pathlib.Path(tempfile.mkdtemp(dir=folder))
    target.prepare(scratch)

    def run(data: bytes) -> None:
        nonlocal done
        found = watching.watched(target, scratch, data)
        done += 1
        if done % _COUNTED == 0:
            counted.write_text(str(done))
        if found is not None and not (findings / found.name).exists():
            (findings / found.name).write_bytes(data)
            text = f"{found.what}\n{found.traceback}"
            (findings / f"{found.name}.txt").write_text(text)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        for _ in range(rng.choice((1, 1, 2))):
            data = mutations.mutated(data, target.kinds, rng, _anyhow)
        return data[:longest]

    # What is imported late is not what an input takes.
    for data in inputs:
        run(data)
    used = watching.of_status("VmSize") + _MOST_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    options = {
        "max_total_time": max(1, int(seconds)),
        "max_len": _LONGEST,
        "timeout": 60,
        "rss_limit_mb": 0,
        "artifact_prefix": f"{findings}/",
        "verbosity": 0,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], run, custom_mutator=mutate)
    atheris.Fuzz()


def _anyhow(data: bytes, rng: random.Random) -> bytes:
    return bytes(atheris.Mutate(data, len(data) + 32))
