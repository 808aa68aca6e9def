"""One of two processes that share a model which only notes what it is asked:

python led.py ADDRESS INDEX JOB

The last line is what process INDEX has noted, and how the job has ended.
"""

import json
import sys

import jax
import numpy as np

from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.t5x_host.leading import lead

PROMPTS = {
    "encoder/one": np.array([[-0.0, np.nan], [np.inf, 1e-45]], np.float32),
    "encoder/other": np.arange(3, dtype=np.float32)[None],
}
INPUTS = Unlabeled(
    [np.array([5, 6, 1], np.int32), np.array([1], np.int32)],
    [[np.array([7, 1], np.int32), np.array([1], np.int32)], [np.array([8], np.int32)]],
    {},
    {"task": "é"},
)


class Noted:
    """A model that fails where there is no prompt."""

    model, shapes = None, {}

    def __init__(self):
        self.asked = []

    def start(self, prompts):
        self.asked.append(["evaluate", as_text(prompts)])
        if not prompts:
            raise RecyclingError("no prompt")
        return lambda: {"task": {"index": jax.process_index()}}

    def score(self, prompts, unlabeled):
        asked = ["score", as_text(prompts), unlabeled.digest, unlabeled.origin]
        self.asked.append(asked)
        return [0.5]


def as_text(prompts):
    return {name: array.tobytes().hex() for name, array in prompts.items()}


def works(leader):
    try:
        leader.evaluate({})
    except RecyclingError:
        metrics = leader.evaluate(PROMPTS)
    assert metrics == {"task": {"index": 0}}
    assert leader.score(PROMPTS, INPUTS) == [0.5]
    return 7


def finds_a_mistake(leader):
    leader.evaluate(PROMPTS)
    raise RecyclingError("1 of 2 failed")


def has_a_bug(leader):
    leader.evaluate(PROMPTS)
    raise ZeroDivisionError("a bug")


def main():
    address, index, job = sys.argv[1:]
    jax.distributed.initialize(address, 2, int(index))
    target = Noted()
    try:
        end = lead(target, globals()[job])
    except Exception as error:
        end = [type(error).__name__, str(error)]
    print(json.dumps([target.asked, end]))


if __name__ == "__main__":
    main()
