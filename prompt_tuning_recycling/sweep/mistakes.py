"""The mistakes in a JSON file, collected so that all are reported at once."""

from __future__ import annotations

import json
import logging
import typing
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pydantic

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.sweep.json_places import Place, RepeatedKey, lines

logger = logging.getLogger(__name__)

Mistake = tuple[Place, str]
"""The place of a mistake, and what is wrong there."""

REQUIRED = "this is required, but missing."

_MESSAGES = {
    "missing": REQUIRED,
    "string_type": "expected a string, found {found}.",
    "bool_type": "expected true or false, found {found}.",
    "int_type": "expected a whole number, found {found}.",
    "dict_type": "expected an object {{...}}, found {found}.",
    "model_type": "expected an object {{...}}, found {found}.",
    "list_type": "expected a list [...], found {found}.",
    "greater_than_equal": "expected {ge} or more, found {found}.",
    "value_error": "{error}",
}
# More than anybody reads. For each, similar names are searched.
_MOST = 100


class Mistakes:
    """The mistakes found in a JSON file so far, beginning with its repeated keys."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = lines(text)
        self._found: list[tuple[int, str]] = []
        for place in self._lines:
            if isinstance(place[-1], RepeatedKey):
                self.add(
                    place, f"{place[-1].key!r} is listed twice; only one would count."
                )

    def add(self, place: Place, message: str) -> None:
        """Notes what is wrong with an entry, which may be missing."""
        known = place
        while known and known not in self._lines:
            known = known[:-1]
        line = self._lines.get(known, 1)
        name = ".".join(map(str, place)) or "the file"
        self._found.append((line, f"line {line}, {name}: {message}"))

    def add_all(self, mistakes: Iterable[Mistake]) -> None:
        """Notes several mistakes, until there are a hundred."""
        for place, message in mistakes:
            if len(self._found) >= _MOST:
                return
            self.add(place, message)

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
        number = f"{count} or more" if count >= _MOST else f"{count}"
        raise RecyclingError(
            f"{self._path} has {number} mistake{'s' if count > 1 else ''}, listed "
            "above; nothing was done."
        )


def in_words(
    error: pydantic.ValidationError, model: type[pydantic.BaseModel]
) -> Iterator[Mistake]:
    """Yields the mistakes that a pydantic model found in its input."""
    for one in error.errors():
        place, found = one["loc"], _short(one["input"])
        if one["type"] == "extra_forbidden":
            yield place, unknown(str(place[-1]), _keys(model, place[:-1]))
            continue
        message = _MESSAGES.get(one["type"], "{msg}")
        # Pydantic marks an entry whose key, not its value, is wrong.
        place = place[:-1] if place[-1:] == ("[key]",) else place
        told = {**one.get("ctx", {}), "found": found, "msg": one["msg"]}
        yield place, message.format(**told)


def unknown(key: str, known: Collection[str]) -> str:
    """Says that a key is unknown, and suggests a similar one."""
    return f"there is no such setting.{did_you_mean(key, known)}"


def _keys(kind: Any, place: Place) -> list[str]:
    """The keys that an object may have at this place in a model."""
    if typing.get_origin(kind) is dict:
        return _keys(typing.get_args(kind)[1], place[1:])
    if typing.get_args(kind):  # X | None
        return _keys(typing.get_args(kind)[0], place)
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    return _keys(fields[place[0]].annotation, place[1:]) if place else list(fields)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
