"""A report's pictures: SVG, narrow enough for a phone, with reproducible bytes."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from prompt_tuning_recycling.sweep.report import palette
from prompt_tuning_recycling.sweep.report.comparison import quartiles

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    # A name may contain dollar signs, which are not math.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": palette.GRID,
}
# One more than there are colors, so that a name that shares a color differs in shape.
_MARKERS = "os^Dv<>P"
_WIDTH = 4.4
_LEGEND_COLUMNS = 2
_MOST_DOTS = 400

Groups = Sequence[tuple[str, Sequence[float], str]]
"""Names, values, and colors."""


@matplotlib.rc_context(STYLE)
def svg(figure: Figure) -> Markup:
    """Returns a picture as an SVG element for a page."""
    stream = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=no_metadata)
    text = stream.getvalue()
    return Markup(text[text.index("<svg") :])  # noqa: S704 (matplotlib escapes names)


@matplotlib.rc_context(STYLE)
def distributions(groups: Groups, xlabel: str, divided_after: int = 0) -> Markup:
    """Draws a row for each group: its values as dots, the middle half as a bar, and the
    median as a line.

    Args:
      groups: the groups, from the top row to the bottom row.
      xlabel: what the values are.
      divided_after: how many of the first groups a line separates from the others.
    """
    figure, axes = _plot(0.52 * len(groups) + 0.7, xlabel)
    for row, (name, values, color) in enumerate(groups):
        _strip(axes, -row, values, color)
        # Above its row, so that a long name takes no width from the plot.
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
    axes.grid(axis="x", zorder=0)
    if 0 < divided_after < len(groups):
        axes.axhline(0.73 - divided_after, color=palette.LINE, linewidth=0.8)
    return svg(figure)


def _strip(axes: Axes, height: float, values: Sequence[float], color: str) -> None:
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


@matplotlib.rc_context(STYLE)
def by_step(
    values: Mapping[str, Mapping[int, Sequence[float]]],
    color: Mapping[str, str],
    xlabel: str,
    ylabel: str,
) -> Markup:
    """Draws each name's median, and the middle half around it, over a whole number. The
    numbers are evenly spaced, since numbers of steps mostly grow by factors.
    """
    numbers = sorted({number for of_name in values.values() for number in of_name})
    figure, axes = _plot(2.5 + _legend_height(values), xlabel, ylabel)
    apart = min(0.05, 0.6 / len(values))
    for place, (name, of_name) in enumerate(values.items()):
        # Side by side, so that none hides another.
        aside = apart * (place - (len(values) - 1) / 2)
        points = [quartiles(of_name[number]) for number in sorted(of_name)]
        axes.errorbar(
            [numbers.index(number) + aside for number in sorted(of_name)],
            [middle for _, middle, _ in points],
            yerr=[
                [middle - low for low, middle, _ in points],
                [high - middle for _, middle, high in points],
            ],
            color=color[name],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            capsize=2,
            linewidth=1.3,
            label=name,
        )
    axes.set_xticks(range(len(numbers)), [f"{number:,}" for number in numbers])
    axes.grid(axis="y", zorder=0)
    _legend_below(figure, axes)
    return svg(figure)


@matplotlib.rc_context(STYLE)
def scatter(
    points: Mapping[str, Sequence[tuple[float, float]]],
    color: Mapping[str, str],
    xlabel: str,
    ylabel: str,
) -> Markup:
    """Draws a dot for each pair of values, in its name's color and shape."""
    figure, axes = _plot(2.7 + _legend_height(points), xlabel, ylabel)
    for place, (name, of_name) in enumerate(points.items()):
        axes.plot(
            *zip(*of_name, strict=True),
            _MARKERS[place % len(_MARKERS)],
            markersize=5,
            alpha=0.75,
            markeredgewidth=0,
            color=color[name],
            label=name,
        )
    axes.grid(zorder=0)
    _legend_below(figure, axes)
    return svg(figure)


def _plot(height: float, xlabel: str, ylabel: str = "") -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="tight")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _legend_height(names: Collection[str]) -> float:
    """Returns the height of a legend below a plot, in inches."""
    return 0.2 * math.ceil(len(names) / _LEGEND_COLUMNS)


def _legend_below(figure: Figure, axes: Axes) -> None:
    """Puts the legend below the label of the axis, where it hides nothing."""
    below = ScaledTranslation(0, -0.55, figure.dpi_scale_trans)
    axes.legend(
        frameon=False,
        fontsize=9.5,
        ncols=_LEGEND_COLUMNS,
        loc="upper left",
        bbox_to_anchor=(-0.1, 0),
        bbox_transform=axes.transAxes + below,
        borderaxespad=0,
    )
