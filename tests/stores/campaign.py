"""Every fault at every request of a `run_recycle`, once and from there on. `make
stores` runs it, for hours.

A fault that passes is overcome: the bits are those of a run without it. Any other ends
the command with a one-line error in bounded time; an output is then missing, or whole
if only the answer was lost. No fault ever changes a number.
"""

import collections
import hashlib
import json
import os
import pathlib
import time
import types

import numpy as np
import pytest

from prompt_tuning_recycling import run_recycle

from .conftest import FORMS
from .faults import LASTING, PASSING, UNSEEN

# The longest that a run with a fault may take, on a busy machine.
SECONDS = 90
EVERY = int(os.environ.get("STORES_EVERY", "1"))


@pytest.fixture
def recycle(store, run, files, write_model, tmp_path, source_table, target_table):
    """Runs it from and to the store with a fault: its exit code, the digest of what it
    wrote, its error stream and seconds.
    """
    counter = iter(range(10**9))

    def prepare(form):
        places = dict(files)
        for name, table in (
            ("source_model", source_table),
            ("target_model", target_table),
        ):
            path = write_model(form, tmp_path / name, table)
            places[name] = store.upload(path, f"models/{path.name}")
        for name in ("prompt_path", "filtered_word"):
            places[name] = store.upload(pathlib.Path(files[name]), name)
        return places

    def once(places, capfd, fault=None, first=0, last=10**9):
        store.proxy.disturb(fault, first, last)
        name = f"out/{next(counter)}"
        capfd.readouterr()
        start = time.monotonic()
        code = run(run_recycle.main, {**places, "output_path": store.url(name)})
        seconds = time.monotonic() - start
        count = len(store.proxy.exchanges)
        store.proxy.reset()
        written = [one for one in store.names("out") if one.startswith(name)]
        digest = None
        if name in written:
            digest = hashlib.sha256(store.read(name)).hexdigest()
            record = json.loads(store.read(f"{name}.json"))
            assert record["file_sha256"] == digest
        return code, digest, written, capfd.readouterr().err, seconds, count

    return types.SimpleNamespace(prepare=prepare, once=once)


def check(outcome, expected, must_pass):
    code, digest, written, errors, seconds, _ = outcome
    assert "Traceback" not in errors, errors
    assert seconds < SECONDS, (seconds, errors)
    if must_pass or code == 0:
        assert (code, digest) == (0, expected), errors
    else:
        assert code == 1, errors
        lines = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and errors.rstrip().endswith(lines[0]), errors
        # What was written although the answer to that was lost is whole.
        assert digest in (None, expected), written
    return "same bits" if code == 0 else "one line"


def tally(counts, name):
    folder = os.environ.get("STORES_COUNTS")
    if folder:
        path = pathlib.Path(folder) / f"{name.replace('/', '_')}.json"
        path.write_text(json.dumps(counts))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [*PASSING, *LASTING, *UNSEEN])
def test_once(kind, form, store, recycle, capfd, request):
    places = recycle.prepare(form)
    _, expected, *_, requests = recycle.once(places, capfd)
    fault = {**PASSING, **LASTING, **UNSEEN}[kind]
    counts = collections.Counter()
    # Another part of the requests for each kind and format.
    start = hash_of(kind + form) % EVERY
    for number in range(start, requests, EVERY):
        outcome = recycle.once(places, capfd, fault, number, number)
        try:
            counts[check(outcome, expected, kind in PASSING)] += 1
        except AssertionError as error:
            raise AssertionError(
                f"at request {number} of {requests}: {error}"
            ) from error
    tally(counts, f"once {store.scheme} {form} {kind}")


@pytest.mark.parametrize("form", ["legacy", "orbax", "safetensors"])
@pytest.mark.parametrize("kind", [*PASSING, *LASTING, *UNSEEN])
def test_from_there_on(kind, form, store, recycle, capfd):
    places = recycle.prepare(form)
    _, expected, *_, requests = recycle.once(places, capfd)
    fault = {**PASSING, **LASTING, **UNSEEN}[kind]
    counts = collections.Counter()
    for number in np.linspace(0, requests - 1, 5).astype(int):
        outcome = recycle.once(places, capfd, fault, number)
        try:
            counts[check(outcome, expected, kind == "slow body")] += 1
        except AssertionError as error:
            raise AssertionError(f"from {number} of {requests}: {error}") from error
    tally(counts, f"on {store.scheme} {form} {kind}")


def hash_of(text):
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
