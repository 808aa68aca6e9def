"""Every writer, killed and with failing system calls: the old output or the new one.

`make kills` does all of it: every writer is killed KILLS times, and each of its system
calls (with FAULTS_EVERY, every one of so many) fails in each way. `make test` does a
part of it. disturbing.py says what is checked after each.
"""

import os
import pathlib
import random
import zlib

import pytest

from ..conftest import thorough
from .disturbing import Disturber

KILLS = int(os.environ.get("KILLS", "0"))
EVERY = int(os.environ.get("FAULTS_EVERY", "1"))
COUNTS = os.environ.get("KILLS_COUNTS")
# Writer -> what runs it.
WRITERS = {
    "run_recycle": "of_files",
    "adapter": "of_files",
    "export": "of_files",
    "kept_prompt": "of_files",
    "to_hugging_face": "of_files",
    "to_t5x": "of_files",
    "collect": "of_sweeps",
    "sweep": "of_sweeps",
    "sweep_clobber": "of_sweeps",
    "report": "of_sweeps",
    "choose": "of_standalone",
    "train": "of_standalone",
    "evaluate_prompts": "of_standalone",
    "evaluate": "of_standalone",
}
NEW_ONLY = ("to_hugging_face", "to_t5x", "evaluate")
OLD_ONLY = ("sweep_clobber",)
ALL = [
    (name, before)
    for name in WRITERS
    for before in ("new", "old")
    if not (before == "old" and name in NEW_ONLY)
    and not (before == "new" and name in OLD_ONLY)
]


@pytest.fixture
def disturber(request):
    """Disturbs a writer, whose output is new, or replaces an old one."""

    def make(name, before):
        server = request.getfixturevalue(WRITERS[name])
        writer = request.getfixturevalue(name)
        saved = None
        if COUNTS:
            pathlib.Path(COUNTS).mkdir(parents=True, exist_ok=True)
            saved = pathlib.Path(COUNTS, f"{name}-{before}.json")
        return Disturber(server, writer, before == "new", saved)

    return make


@pytest.mark.skipif(not KILLS, reason="`make kills` does this")
@pytest.mark.parametrize(("name", "before"), ALL)
def test_killed_often_and_with_every_fault(disturber, name, before):
    made = disturber(name, before)
    seed = zlib.crc32(f"{name} {before}".encode())
    rng = random.Random(seed)
    made.kill(-(-KILLS // 10), rng)
    made.fail(every=EVERY)
    made.kill(KILLS, rng)
    assert not made.counts.findings, "\n".join(made.counts.findings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before"),
    [("run_recycle", "old"), thorough("export", "old")],
)
def test_killed_and_with_every_fault(disturber, name, before):
    made = disturber(name, before)
    made.kill(5, random.Random(0))
    assert made.counts.kills.total() == 5
    made.fail(every=3)
    assert set(made.counts.faults) == {"ENOSPC", "EIO", "EACCES", "short"}
    assert not made.counts.findings, "\n".join(made.counts.findings)
