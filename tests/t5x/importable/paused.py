"""Pauses process 0 of a run where PAUSE says, for SECONDS or for ever; then the file
that PAUSED names is there.

fit: it recycles; write_<step>: a step is written, and is about to get its name.
"""

import dataclasses
import os
import pathlib
import time

import counted
import orbax.checkpoint as ocp

from prompt_tuning_recycling.recyclers import register


def _pause():
    pathlib.Path(os.environ["PAUSED"]).touch()
    time.sleep(float(os.environ.get("SECONDS", 600)))


@register
@dataclasses.dataclass(frozen=True)
class PausedLinear(counted.CountedLinear):
    """v2v-lin, which counts its fits."""

    name = "paused"
    aliases = ()

    def learn(self, source, target):
        found = super().learn(source, target)
        if os.environ.get("PAUSE") == "fit":
            _pause()
        return found


_finalize = ocp.PyTreeCheckpointHandler.finalize


def _finalize_and_pause(self, directory):
    _finalize(self, directory)
    what, _, step = os.environ.get("PAUSE", "").partition("_")
    if what == "write" and f"/checkpoint_{step}." in os.fspath(directory):
        _pause()


ocp.PyTreeCheckpointHandler.finalize = _finalize_and_pause
