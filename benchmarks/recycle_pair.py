"""Times what a sweep does for each prompt, without fitting maps or reading models.

    python benchmarks/recycle_pair.py [--prompts 200]

Two models of T5 Base's size and prompts of length 100 are made in a temporary folder.
v2v-lin is fitted, and recycles one prompt, before the clock starts. The output is wall
and processor seconds per prompt, as JSON. `python -m benchmarks.sweep prompts` runs
this file with one checkout of the package and then with another.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile
import time

import numpy as np

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.sweep import plan, work
from prompt_tuning_recycling.sweep.configuration import WordList

VOCABULARY_SIZE, WIDTH, LENGTH = 32_128, 768, 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=200)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        rng = np.random.default_rng(0)
        for model in ("source", "target"):
            table = rng.normal(size=(VOCABULARY_SIZE, WIDTH)).astype(np.float32)
            np.save(folder / f"{model}.npy", table)
        for number in range(flags.prompts + 1):
            prompt = 3 * rng.normal(size=(LENGTH, WIDTH)).astype(np.float32)
            np.save(folder / f"{number}.npy", prompt)
        recycle(folder, range(1))
        # The map is there now: this reads it and the models, and recycles one prompt.
        fixed = timed(folder, range(1))
        every = timed(folder, range(1, flags.prompts + 1))
    per_prompt = [
        (both - before) / (flags.prompts - 1)
        for both, before in zip(every, fixed, strict=True)
    ]
    print(json.dumps(dict(zip(("wall", "processor"), per_prompt, strict=True))))


def timed(folder: pathlib.Path, numbers: range) -> tuple[float, float]:
    started = time.perf_counter(), time.process_time()
    recycle(folder, numbers)
    return time.perf_counter() - started[0], time.process_time() - started[1]


def recycle(folder: pathlib.Path, numbers: range) -> None:
    items = tuple(
        plan.Item(
            "v2v-lin",
            "init",
            "run",
            "source",
            "target",
            number,
            str(folder / f"{number}.npy"),
            str(folder / f"recycled/{number}"),
            "",
        )
        for number in numbers
    )
    words = WordList(num_words=4000, word_offset=1000)
    path = str(folder / "map")
    fit = plan.Fit(recyclers.make("v2v-lin"), words, path, items)
    models = [str(folder / f"{model}.npy") for model in ("source", "target")]
    # An output that is there would be left as it is.
    for item in items:
        pathlib.Path(item.output).unlink(missing_ok=True)
    outcome = work.recycle_pair(
        plan.PairWork("source", "target", *models, None, False, (fit,))
    )
    assert not outcome.failed, outcome.failed[:3]
    assert len(outcome.recycled) == len(numbers)


if __name__ == "__main__":
    main()
