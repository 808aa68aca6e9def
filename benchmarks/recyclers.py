"""Times each registered recycler, as multiples of one product of the same size.

    PYTHONPATH=. python benchmarks/recyclers.py [--sizes 4000x768 4000x1536 4000x4096]
        [--runs 3] [--recyclers v2v-lin ...]

A size is words x width; source and target have the same width. For each recycler, `fit`
on fresh embeddings and `apply` on one prompt of 100 vectors are timed together, in turn
with the float64 product SᵀT. The output is the median of the products' seconds, and the
median of each run's ratio. A whole process is timed by `benchmarks/run_recycle.py
--width 4096`.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from prompt_tuning_recycling import recyclers

LENGTH = 100
# A network is trained in minutes; one pass over the words tells what a pass takes.
PARAMETERS = {"v2v-nn": {"epochs": 1}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", nargs="+", default=["4000x768", "4000x1536", "4000x4096"]
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--recyclers", nargs="+", default=recyclers.names())
    flags = parser.parse_args()
    logging.disable()
    for size in flags.sizes:
        words, width = map(int, size.split("x"))
        measure(words, width, flags.recyclers, flags.runs)
    print(f"cpus: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}")


def measure(words: int, width: int, names: list[str], runs: int) -> None:
    source, target, prompt = embeddings(words, width)
    wide = source.astype(np.float64), target.astype(np.float64)
    products = []
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        recycler = recyclers.make(name, **PARAMETERS.get(name, {}))
        for run in range(runs + 1):
            product = seconds(lambda: wide[0].T @ wide[1])
            ours = seconds(
                lambda made=recycler: made.fit(source, target).map.apply(prompt)
            )
            if run:  # The first one loads libraries.
                products.append(product)
                ratios[name].append(ours / product)
    print(f"{words}x{width}: one product takes {statistics.median(products):.3f} s")
    for name, found in ratios.items():
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"  {name:15}{statistics.median(found):7.2f} products ({spread})")


def embeddings(words: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float32 embeddings of which the target's are a noisy image, and a prompt."""
    rng = np.random.default_rng(0)
    source = rng.standard_normal((words, width))
    image = source @ rng.standard_normal((width, width)) / np.sqrt(width)
    target = image + rng.standard_normal((words, width))
    prompt = 3 * rng.standard_normal((LENGTH, width))
    source, target, prompt = (
        array.astype(np.float32) for array in (source, target, prompt)
    )
    return source, target, prompt


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
