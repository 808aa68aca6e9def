"""A report's pictures: SVG, narrow enough for a phone, the same bytes every time."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prompt_tuning_recycling.sweep.comparison import quartiles

matplotlib.use("svg")

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    # Names are names, whatever dollar signs they hold.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
}
# Okabe and Ito's, which the color-blind can tell apart.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_MARKERS = "os^Dv<>"
_WIDTH = 4.4
_MOST_DOTS = 400

Groups = Sequence[tuple[str, Sequence[float], str]]
"""Names, values, and colors, which are gray where they are empty."""


def colors(names: Sequence[str]) -> dict[str, str]:
    """Returns a color for each name."""
    return {n: _COLOURS[i % len(_COLOURS)] for i, n in enumerate(names)}


@contextlib.contextmanager
def _drawing(height: float, xlabel: str, ylabel: str = "") -> Iterator[list]:
    """Yields [axes]; what was drawn is appended as SVG."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(_WIDTH, height))
        held: list = [axes]
        yield held
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        figure.tight_layout()
        held.append(_svg(figure))


def distributions(groups: Groups, xlabel: str, divided_after: int = 0) -> str:
    """Draws a row for each group: its values as dots, the middle half as a bar, and the
    median as a line.

    Args:
      groups: what is in the rows.
      xlabel: what the values are.
      divided_after: a line separates so many first groups from the others.
    """
    with _drawing(0.52 * len(groups) + 0.7, xlabel) as held:
        axes = held[0]
        for row, (name, values, color) in enumerate(groups):
            _strip(axes, -row, list(values), color or "#666666")
            # Above its row, so that a long name takes nothing of a phone's width.
            axes.text(
                0,
                -row + 0.3,
                name,
                transform=axes.get_yaxis_transform(),
                fontsize=9.5,
                va="bottom",
            )
        axes.set_yticks([])
        axes.set_ylim(-len(groups) + 0.6, 0.75)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color="#e4e4e4", zorder=0)
        if 0 < divided_after < len(groups):
            axes.axhline(0.73 - divided_after, color="#999999", linewidth=0.8)
    return held[1]


def _strip(axes: Axes, height: float, values: list[float], color: str) -> None:
    if not values:
        return
    rng = random.Random(0)  # noqa: S311 (scatters dots)
    shown = values if len(values) <= _MOST_DOTS else rng.sample(values, _MOST_DOTS)
    axes.plot(
        shown,
        [height + rng.uniform(-0.2, 0.2) for _ in shown],
        "o",
        markersize=2.6,
        markeredgewidth=0,
        alpha=0.35,
        color=color,
        zorder=2,
    )
    low, middle, high = quartiles(values)
    axes.plot([low, high], [height, height], color="k", linewidth=2, zorder=3)
    axes.plot([middle] * 2, [height - 0.24, height + 0.24], color="k", zorder=3)


def by_step(
    values: Mapping[str, Mapping[int, Sequence[float]]],
    color: Mapping[str, str],
    xlabel: str,
    ylabel: str,
) -> str:
    """Draws, for each name, the median by a whole number, and the middle half around
    it. The numbers are evenly spaced: those of steps mostly grow by factors.
    """
    numbers = sorted({number for of_name in values.values() for number in of_name})
    with _drawing(3.0, xlabel, ylabel) as held:
        axes = held[0]
        for place, (name, of_name) in enumerate(values.items()):
            # Side by side, so that none hides another.
            aside = 0.05 * (place - (len(values) - 1) / 2)
            xs = [numbers.index(number) + aside for number in sorted(of_name)]
            points = [quartiles(list(of_name[number])) for number in sorted(of_name)]
            axes.errorbar(
                xs,
                [middle for _, middle, _ in points],
                yerr=[
                    [middle - low for low, middle, _ in points],
                    [high - middle for _, middle, high in points],
                ],
                color=color.get(name, "#666666"),
                marker=_MARKERS[place % len(_MARKERS)],
                markersize=5,
                capsize=2,
                linewidth=1.3,
                label=name,
            )
        axes.set_xticks(range(len(numbers)), [f"{number:,}" for number in numbers])
        axes.grid(axis="y", color="#e4e4e4", zorder=0)
        _legend_below(axes)
    return held[1]


def scatter(
    points: Mapping[str, Sequence[tuple[float, float]]],
    color: Mapping[str, str],
    xlabel: str,
    ylabel: str,
) -> str:
    """Draws a dot for each pair of values, in its name's color and shape."""
    with _drawing(3.2, xlabel, ylabel) as held:
        axes = held[0]
        for place, (name, of_name) in enumerate(points.items()):
            axes.plot(
                [x for x, _ in of_name],
                [y for _, y in of_name],
                _MARKERS[place % len(_MARKERS)],
                markersize=5,
                alpha=0.75,
                markeredgewidth=0,
                color=color.get(name, "#666666"),
                label=name,
            )
        axes.grid(color="#e4e4e4", zorder=0)
        _legend_below(axes)
    return held[1]


def _legend_below(axes: Axes) -> None:
    """Where it hides nothing."""
    axes.legend(
        frameon=False,
        fontsize=9.5,
        ncols=2,
        loc="upper left",
        bbox_to_anchor=(-0.1, -0.37),
        borderaxespad=0,
    )


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=no_metadata)
    plt.close(figure)
    text = stream.getvalue()
    return text[text.index("<svg") :]
