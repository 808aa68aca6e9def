"""Fuzzes one reader, guided by coverage, until its time is over or the process dies.

    python -m tests.fuzzing.campaign READER SECONDS FOLDER

Executions are counted in FOLDER/executions, and each kind of finding is written to
FOLDER/findings once: the input, and what the reader did. libFuzzer writes there the
input at which the process died or hung.
"""

from __future__ import annotations

import logging
import pathlib
import random
import resource
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["prompt_tuning_recycling"]):
    from . import mutations, watching
    from .targets import ALL

_LONGEST = 1 << 16
_COUNTED = 25
# What the process may reserve beyond what it has when it begins, so that a reader that
# takes everything takes nothing from others.
_MOST_ADDRESSES = 6 << 30


def main() -> None:
    name, seconds, place = sys.argv[1:]
    target, folder = ALL[name], pathlib.Path(place)
    logging.disable(logging.CRITICAL)
    corpus, findings = folder / "corpus", folder / "findings"
    for made in (corpus, findings):
        made.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.inputs()):
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
    for data in target.inputs():
        run(data)
    used = watching.of_status("VmSize") + _MOST_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    options = {
        "max_total_time": seconds,
        "max_len": _LONGEST,
        "timeout": 30,
        "rss_limit_mb": 0,
        "artifact_prefix": f"{findings}/",
        "print_final_stats": 0,
        "verbosity": 0,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], run, custom_mutator=mutate)
    try:
        atheris.Fuzz()
    finally:
        counted.write_text(str(done))


def _anyhow(data: bytes, rng: random.Random) -> bytes:
    return bytes(atheris.Mutate(data, len(data) + 32))


if __name__ == "__main__":
    main()
