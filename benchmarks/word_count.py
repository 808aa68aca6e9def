"""Measures how well a linear map generalizes, over the number of words.

    PYTHONPATH=. python benchmarks/word_count.py RESULTS.json [--width 4096]
        [--counts 1000 2000 ...] [--ridges none 0.1 auto] [--figure FILE.svg]

The pair of models is synthetic: source embeddings S of independent normal numbers, and
T = S·R + noise, with a random R and noise that is 0.3 times as large as S·R. Both have
a row for each word of the package's list. Maps are fitted on the words from entry 1000
on, by `v2v-lin` with each kind of ridge. The last 1000 words of the list are never
fitted on; the results are their residuals ‖SW − T‖ / ‖T‖. What RESULTS.json already
holds is not measured again.
"""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import time

import numpy as np

from prompt_tuning_recycling import maps, recyclers
from prompt_tuning_recycling.words import WORD_OFFSET, WordEmbeddings, lists

COUNTS = (1000, 2000, 3000, 4000, 4096, 5000, 6000, 8000, 14000)
HELD_OUT = 1000
NOISE = 0.3
RIDGES = {"none": None, "0.1": 0.1, "auto": "auto"}

# For each ridge, by the number of words: [words, residual].
Curves = dict[str, list[tuple[int, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--ridges", nargs="+", choices=RIDGES, default=list(RIDGES))
    parser.add_argument("--figure", help="an SVG file to draw the curves in")
    flags = parser.parse_args()
    logging.disable()
    curves: Curves = {}
    if flags.results.exists():
        curves = json.loads(flags.results.read_text())
    source, target = pair(len(lists.load(None)[0]), flags.width)
    for name in flags.ridges:
        known = dict(curves.get(name, []))
        for count in flags.counts:
            if count not in known:
                known[count] = measure(source, target, count, name)
                curves[name] = sorted(known.items())
                flags.results.write_text(json.dumps(curves) + "\n")
    if flags.figure:
        draw(flags.width, curves, flags.figure)


def pair(words: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the source's and the target's float32 embeddings, [words, width]."""
    rng = np.random.default_rng(0)
    source = rng.standard_normal((words, width), np.float32)
    map_ = rng.standard_normal((width, width), np.float32) / np.sqrt(width)
    noise = NOISE * rng.standard_normal((words, width), np.float32)
    return source, (source @ map_ + noise).astype(np.float32)


def measure(source: np.ndarray, target: np.ndarray, count: int, ridge: str) -> float:
    """Returns the residual on the held-out words."""
    end = WORD_OFFSET + count
    if end > len(source) - HELD_OUT:
        raise SystemExit(f"{count} words leave too few to hold out {HELD_OUT}.")
    started = time.monotonic()
    fit = recyclers.make("v2v-lin", ridge=RIDGES[ridge]).fit(
        WordEmbeddings.checked(source[WORD_OFFSET:end], "source"),
        WordEmbeddings.checked(target[WORD_OFFSET:end], "target"),
    )
    found = maps.residual(fit.map, source[-HELD_OUT:], target[-HELD_OUT:])
    assert found is not None
    print(
        f"{count} words, ridge {ridge}: residual {found:.3f} held out, "
        f"{fit.residual:.3f} fitted, {fit.diagnostics}, "
        f"{time.monotonic() - started:.1f} s",
        flush=True,
    )
    return round(found, 3)


def draw(width: int, curves: Curves, path: str) -> None:
    """Draws the curves as an SVG file, the same bytes for the same numbers."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from prompt_tuning_recycling.sweep.report import figures, palette

    with rc_context(figures.STYLE):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.axvline(width, color=palette.LINE, linestyle=":")
        axes.text(width, 0.06, f" the source's width, {width}", color=palette.GRAY)
        for name, color in palette.colors(RIDGES).items():
            label = "no ridge" if name == "none" else f"ridge {name}"
            counts, residuals = zip(*curves[name], strict=True)
            style = "o--" if name == "auto" else "o-"
            axes.plot(counts, residuals, style, markersize=4, color=color, label=label)
        axes.set(xlabel="words that the map is fitted on", ylim=(0, 2.5))
        axes.set_ylabel("residual on 1000 other words")
        axes.legend(frameon=False)
        pathlib.Path(path).write_text(figures.svg(figure))


if __name__ == "__main__":
    main()
