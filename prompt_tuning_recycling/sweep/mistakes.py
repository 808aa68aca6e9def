"""All that is wrong with a file, collected so that it can be reported at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.sweep.json_places import Place, lines

logger = logging.getLogger(__name__)

_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    dict: "an object {...}",
    list: "a list [...]",
}


class Mistakes:
    """The mistakes found in a JSON file so far."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = lines(text)
        self._found: list[tuple[int, str]] = []

    def add(self, place: Place, message: str) -> None:
        """Notes what is wrong with an entry, which may be one that is missing."""
        known = place
        while known and known not in self._lines:
            known = known[:-1]
        line = self._lines.get(known, 1)
        name = ".".join(map(str, place)) or "the file"
        self._found.append((line, f"line {line}, {name}: {message}"))

    def keys_that_stand_twice(self) -> None:
        """Notes every key that an object has more than once."""
        for place in self._lines:
            if str(place[-1]).endswith(" (again)"):
                key = str(place[-1]).removesuffix(" (again)")
                self.add(place, f"{key!r} stands there already; only one would count.")

    def kind(self, place: Place, value: Any, kind: type) -> bool:
        """Notes it if a value is not of a kind; returns whether it is."""
        right = isinstance(value, kind) and not (
            kind is int and isinstance(value, bool)
        )
        if not right:
            self.add(place, f"expected {_KINDS[kind]}, found {_short(value)}.")
        return right

    def keys(
        self,
        place: Place,
        value: Mapping[str, Any],
        known: Sequence[str],
        required: Sequence[str] = (),
    ) -> None:
        """Notes keys that mean nothing, and required ones that are not there."""
        for key in value:
            if key not in known:
                meant = did_you_mean(key, known)
                self.add((*place, key), f"there is no such setting.{meant}")
        for key in required:
            if key not in value:
                self.add((*place, key), "this is required, but not there.")

    def report(self) -> None:
        """Logs each mistake on a line of its own.

        Raises:
          RecyclingError: there are any.
        """
        if not self._found:
            return
        for _, message in sorted(self._found, key=lambda found: found[0]):
            logger.error("%s", message)
        count = len(self._found)
        raise RecyclingError(
            f"{self._path} has {count} mistake{'s' if count > 1 else ''}, listed "
            "above; nothing was done."
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
