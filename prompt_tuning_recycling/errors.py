"""The error that every part of the package raises for input it cannot use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RecyclingError(ValueError):
    """Input that cannot be used: what was expected, what was found, what to do.

    The message is written for the person who typed the command. Command lines print
    only the message, without a traceback.
    """


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """Returns `" Did you mean a, b?"` from the known names nearest to `name`.

    If no known name is near, it lists the known names (ten at most).
    """
    known = sorted(known)
    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=most, cutoff=0.6)
    if near:
        return f" Did you mean {', '.join(lower[found] for found in near)}?"
    if not known:
        return ""
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    return f" Known: {', '.join(known[:10])}{more}."
