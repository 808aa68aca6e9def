"""Measures how well a linear map generalizes, over the number of words.

    PYTHONPATH=. python benchmarks/word_count.py [--width 4096] [--counts 1000 2000 ...]
        [--figure docs/wide_models.svg]

The pair of models is synthetic: source embeddings S of independent normal numbers, and
T = S·R + noise, with a random R and noise that is 0.3 times as large as S·R. Both have
a row for each word of the package's list. Maps are fitted on the words from entry 1000
on, by `v2v-lin` without a ridge, with one of 0.1, and with the one that leave-one-out
chooses. The last 1000 words of the list are never fitted on; the output is their
residual ‖SW − T‖ / ‖T‖.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from prompt_tuning_recycling import maps, recyclers
from prompt_tuning_recycling.words import WORD_OFFSET, WordEmbeddings, lists

COUNTS = (1000, 2000, 3000, 4000, 4096, 5000, 6000, 8000, 14000)
HELD_OUT = 1000
NOISE = 0.3
RIDGES = {"no ridge": None, "ridge 0.1": 0.1, "ridge auto": "auto"}
COLORS = {"no ridge": "#c0392b", "ridge 0.1": "#2980b9", "ridge auto": "#27ae60"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--figure", help="an SVG file to draw the curves in")
    flags = parser.parse_args()
    source, target = pair(len(lists.load(None)[0]), flags.width)
    curves: dict[str, list[float]] = {name: [] for name in RIDGES}
    for count in flags.counts:
        for name, found in measure(source, target, count).items():
            curves[name].append(found)
    print(json.dumps({"width": flags.width, "counts": flags.counts, **curves}))
    if flags.figure:
        draw(flags.width, flags.counts, curves, flags.figure)


def pair(words: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the source's and the target's float32 embeddings, [words, width]."""
    rng = np.random.default_rng(0)
    source = rng.standard_normal((words, width), np.float32)
    map_ = rng.standard_normal((width, width), np.float32) / np.sqrt(width)
    noise = NOISE * rng.standard_normal((words, width), np.float32)
    return source, (source @ map_ + noise).astype(np.float32)


def measure(source: np.ndarray, target: np.ndarray, count: int) -> dict[str, float]:
    """Returns the held-out residual with each kind of ridge."""
    end = WORD_OFFSET + count
    if end > len(source) - HELD_OUT:
        raise SystemExit(f"{count} words leave too few to hold out {HELD_OUT}.")
    fitted = [
        WordEmbeddings.checked(table[WORD_OFFSET:end], whose)
        for table, whose in ((source, "source"), (target, "target"))
    ]
    residuals = {}
    for name, ridge in RIDGES.items():
        started = time.monotonic()
        fit = recyclers.make("v2v-lin", ridge=ridge).fit(*fitted)
        found = maps.residual(fit.map, source[-HELD_OUT:], target[-HELD_OUT:])
        assert found is not None
        residuals[name] = round(found, 3)
        print(
            f"{count} words, {name}: residual {found:.3f} held out, "
            f"{fit.residual:.3f} fitted, ridge {fit.diagnostics.get('ridge')}, "
            f"condition {fit.diagnostics['condition_number']:.3g}, "
            f"{time.monotonic() - started:.1f} s",
            flush=True,
        )
    return residuals


def draw(
    width: int, counts: list[int], curves: dict[str, list[float]], path: str
) -> None:
    """Draws the curves as an SVG file, the same bytes for the same numbers."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "word_count", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    axes.axvline(width, color="#bbbbbb", linewidth=1)
    axes.text(width, 0.02, f" width {width}", color="#777777")
    for name, residuals in curves.items():
        axes.plot(
            counts, residuals, marker="o", markersize=4, color=COLORS[name], label=name
        )
    axes.set(xlabel="words fitted on", ylabel="residual on other words", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
