"""The colors of pages and of the pictures on them."""

from __future__ import annotations

from collections.abc import Iterable

INK = "#1d1d1f"
PAPER = "#ffffff"
LINK = "#0060a8"
GRAY = "#666666"
"""The color of captions, and of anything that color does not distinguish."""
LINE = "#999999"
GRID = "#dddddd"
SHADE = "#f2f2f4"
"""The background of passages that are set apart."""

# Okabe and Ito's colors, which color-blind people can tell apart.
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")


def colors(names: Iterable[str]) -> dict[str, str]:
    """Returns a color for each name."""
    return {name: SERIES[i % len(SERIES)] for i, name in enumerate(names)}


def heat(share: float) -> tuple[str, str]:
    """Returns the colors of a heat map's cell and of the text in it.

    From pale to dark blue, which can also be read in gray and by color-blind people.

    Args:
      share: from 0, pale, to 1, dark.
    """
    share = min(max(share, 0.0), 1.0)
    pale, dark = (236, 243, 250), (8, 72, 135)
    mixed = [round(a + (b - a) * share) for a, b in zip(pale, dark, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed), PAPER if share > 0.5 else INK
