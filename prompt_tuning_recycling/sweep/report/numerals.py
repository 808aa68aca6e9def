"""Numbers as a report's text."""

from __future__ import annotations


def percent(part: int, whole: int) -> str:
    """A percentage, never rounded to 100 or 0; empty if the whole is 0."""
    if not whole:
        return ""
    share = 100 * part / whole
    text = f"{share:.0f}"
    if (text == "100" and part < whole) or (text == "0" and part):
        text = f"{share:.1f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def number(value: float, largest: float | None = None) -> str:
    """Percentages get one decimal digit, shares get three.

    Args:
      value: the number.
      largest: the largest of the numbers that it is compared with, which tells whether
        they are percentages; by default the number itself.
    """
    digits = 1 if abs(value if largest is None else largest) >= 1.5 else 3
    return f"{value:.{digits}f}"
