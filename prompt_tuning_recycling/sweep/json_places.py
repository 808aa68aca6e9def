"""Finds the line of each entry in a JSON text, for messages about it."""

from __future__ import annotations

import collections
import json
import re
from typing import Any

Place = tuple[str | int, ...]
"""The keys and indices that lead to an entry."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:"\s]+')


class RepeatedKey(str):
    """A key that its object already has, named `KEY (again)`, `KEY (again 2)`, ...

    Attributes:
      key: the key.
    """

    key: str

    @classmethod
    def of(cls, key: str, times: int) -> RepeatedKey:
        """Returns the key as it is named when it is repeated for the nth time."""
        made = cls(f"{key} (again)" if times == 1 else f"{key} (again {times})")
        made.key = key
        return made


def lines(text: str) -> dict[Place, int]:
    """Returns the line, from 1, on which each entry of a well-formed JSON text begins.

    A key that an object repeats is a `RepeatedKey`.
    """
    found: dict[Place, int] = {}
    repeated: collections.Counter[Place] = collections.Counter()
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
                path[-1] = key = json.loads(part)
                place = tuple(path)
                while tuple(path) in found:
                    repeated[place] += 1
                    path[-1] = RepeatedKey.of(key, repeated[place])
            if not isinstance(here, str):
                found[tuple(path)] = line
            if part in "[{":
                path.append(0 if part == "[" else None)
    return found
