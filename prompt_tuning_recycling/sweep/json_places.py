"""Finds the line of each entry in a JSON text, for messages about it."""

from __future__ import annotations

import json
import re
from typing import Any

Place = tuple[str | int, ...]
"""The keys and indices that lead to an entry."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:"\s]+')


class Again(str):
    """A key that its object already has, named `KEY (again)`."""


def lines(text: str) -> dict[Place, int]:
    """Returns the line, from 1, on which each entry of a well-formed JSON text begins.

    A key that an object repeats is `Again`.
    """
    found: dict[Place, int] = {}
    # The place reached so far; None stands for the next key of an object.
    path: list[Any] = []
    line, read = 1, 0
    for match in _TOKEN.finditer(text):
        line, read = line + text.count("\n", read, match.start()), match.start()
        part = match[0]
        here = path[-1] if path else ""
        if part in "]}":
            path.pop()
        elif part == ",":
            path[-1] = here + 1 if isinstance(here, int) else None
        elif part != ":":
            if here is None:
                path[-1] = json.loads(part)
                while tuple(path) in found:
                    path[-1] = Again(f"{path[-1]} (again)")
            if not isinstance(here, str):
                found[tuple(path)] = line
            if part in "[{":
                path.append(0 if part == "[" else None)
    return found
