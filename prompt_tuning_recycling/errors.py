"""The error that every part of the package raises for input it cannot use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Nobody mistypes a longer name, and comparing with more names takes too long.
_LONGEST = 200
_MOST_COMPARED = 10_000


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
    lower = {
        other.lower(): other
        for other in known[:_MOST_COMPARED]
        if len(other) <= _LONGEST
    }
    # Comparing two texts takes as long as the product of their lengths.
    compared = name.lower() if len(name) <= _LONGEST else ""
    near = difflib.get_close_matches(compared, lower, n=most, cutoff=0.6)
    if near:
        return f" Did you mean {', '.join(lower[found] for found in near)}?"
    if not known:
        return ""
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    shown = ", ".join(other[:_LONGEST] for other in known[:10])
    return f" Known: {shown}{more}."
