"""Where in a JSON text each entry stands, for messages about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

Place = tuple[str | int, ...]
"""The keys and indices that lead to an entry."""

_SPACE = re.compile(r"[ \t\r\n]*")
_ATOM = re.compile(r"[^\s,\]}]+")


def lines(text: str) -> dict[Place, int]:
    """Returns the line, from 1, on which each entry of a well-formed JSON text begins.

    Of a key that stands twice, the second is named `KEY (again)`.
    """
    found = {}
    for place, position in _Walk(text).places():
        while place in found:
            place = (*place[:-1], f"{place[-1]} (again)")
        found[place] = text.count("\n", 0, position) + 1
    return found


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def places(self) -> Iterator[tuple[Place, int]]:
        self._skip_space()
        yield from self._value(())

    def _value(self, place: Place) -> Iterator[tuple[Place, int]]:
        opening = self._text[self._at]
        if opening == "{":
            yield from self._members(place, "}")
        elif opening == "[":
            yield from self._members(place, "]")
        elif opening == '"':
            self._string()
        else:
            match = _ATOM.match(self._text, self._at)
            self._at = match.end() if match else self._at + 1

    def _members(self, place: Place, closing: str) -> Iterator[tuple[Place, int]]:
        self._at += 1
        self._skip_space()
        number = 0
        while self._text[self._at] != closing:
            position = self._at
            key: str | int = number
            if closing == "}":
                key = self._string()
                self._skip_space()
                self._at += 1  # The colon.
                self._skip_space()
            yield (*place, key), position
            yield from self._value((*place, key))
            self._skip_space()
            if self._text[self._at] == ",":
                self._at += 1
                self._skip_space()
            number += 1
        self._at += 1

    def _string(self) -> str:
        string, self._at = json.JSONDecoder().raw_decode(self._text, self._at)
        return string

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match:
            self._at = match.end()
