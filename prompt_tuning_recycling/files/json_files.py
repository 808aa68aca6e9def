"""Reads JSON files, with limits on their content, and makes their text."""

from __future__ import annotations

import collections
import json
import json.encoder
import math
import os
import re
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.failures import reason, storage_errors
from prompt_tuning_recycling.files.reading import read_whole

# Far more than any of the package's files needs, and far below Python's recursion
# limit.
_MOST_LEVELS = 100
# Far more than the index of the largest model has. A value takes up to 150 bytes of
# memory, but as few as two bytes in the file.
_MOST_VALUES = 1_000_000
# Decoded, a text takes up to four times its size.
_LARGEST = 1 << 25
# A number with this many digits still fits into a float; identifiers have 19 or 20.
_MOST_DIGITS = 300
DAMAGED = (
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What using a JSON value of another kind than expected may raise, for records that
others write and this package only shows or compares."""

_quoted = json.encoder.encode_basestring
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def json_text(value: Any) -> str:
    """Returns what `json.dumps(value, indent=2, ensure_ascii=False)` does, and a line
    break. For records with many short lists it takes a quarter of the time, because
    json's fast encoder cannot indent.

    Args:
      value: anything that `json.dumps` takes.

    Raises:
      TypeError: as `json.dumps`.
    """
    return _indented(value, "\n") + "\n"


def read_text(path: epath.PathLike, what: str) -> str:
    """Returns the text of a UTF-8 file, with or without a byte order mark.

    Args:
      path: the file.
      what: a description for messages, such as "the manifest".

    Raises:
      RecyclingError: the file cannot be read, or is not UTF-8.
    """
    name = os.fspath(path)
    try:
        return read_whole(path).decode("utf-8-sig")
    except storage_errors() as error:
        raise RecyclingError(f"cannot read {what} {name}: {reason(error)}.") from error
    except UnicodeDecodeError as error:
        raise RecyclingError(
            f"cannot read {what} {name}: expected UTF-8, found an invalid byte at "
            f"{error.start}. Save it as UTF-8."
        ) from error


def parse_json(text: str, where: str, *, keys_once: bool = True) -> Any:
    """Returns the value of a JSON text, or says in one line why it cannot be used.

    Every string in the result can be written as UTF-8, every whole number has at most
    300 digits, there are at most a million values, and nothing is nested more deeply
    than 100 levels. NaN and Infinity, which Python writes into JSON, are accepted.

    Args:
      text: the JSON.
      where: a description and the path, for messages.
      keys_once: whether to reject an object that has a key twice; Python would use the
        last value.

    Raises:
      RecyclingError: the text is not JSON, or exceeds the limits above.
    """
    check_few_values(text, where)

    def integer(digits: str) -> int:
        if len(digits.lstrip("-")) > _MOST_DIGITS:
            raise RecyclingError(
                f"{where} has a whole number of {len(digits.lstrip('-'))} digits. "
                f"Expected {_MOST_DIGITS} at most."
            )
        return int(digits)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = collections.Counter(key for key, _ in pairs)
            twice = counts.most_common(1)[0][0]
            raise RecyclingError(
                f"{where} has the key {twice!r} twice in one object. Remove one."
            )
        return found

    too_deep = RecyclingError(
        f"{where} is nested more deeply than {_MOST_LEVELS} levels. Is it the right "
        "file?"
    )
    try:
        value = json.loads(
            text,
            parse_int=integer,
            object_pairs_hook=members if keys_once else None,
        )
    except json.JSONDecodeError as error:
        raise RecyclingError(f"{where} is not JSON: {error}.") from error
    except RecursionError as error:
        raise too_deep from error
    if _deeper_than(value, _MOST_LEVELS):
        raise too_deep
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise RecyclingError(
                f"{where} has {character!r}, half of a character that takes two such "
                "codes. Write the whole character."
            ) from error
    return value


def check_few_values(
    text: str | bytes, where: str, most: int = _MOST_VALUES, largest: int = _LARGEST
) -> None:
    """Raises RecyclingError if a JSON text is too long, or if its values are so many
    that they would take far more memory than the text.

    Args:
      text: the JSON.
      where: a description and the path, for messages.
      most: how many values it may have; an empty list is one, and so is each of the
        values of a longer one.
      largest: how many characters it may have.
    """
    if len(text) > largest:
        raise RecyclingError(
            f"{where} has {len(text)} characters. Expected {largest} at most. Is it "
            "the right file?"
        )
    if isinstance(text, str):
        values = text.count("[") + text.count("{") + text.count(",")
    else:
        values = text.count(b"[") + text.count(b"{") + text.count(b",")
    if values > most:
        raise RecyclingError(
            f"{where} has about {values} values. Expected {most} at most. Is it the "
            "right file?"
        )


def read_json(path: epath.PathLike, what: str) -> Any:
    """Returns the value of a JSON file: `read_text`, then `parse_json`.

    Raises:
      RecyclingError: the file cannot be read, is not UTF-8, or `parse_json` rejects
        it.
    """
    return parse_json(read_text(path, what), f"{what} {os.fspath(path)}")


def why_damaged(error: Exception) -> str:
    """Returns what one of `DAMAGED` found, for a message."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    return f"found a value of another kind ({error})"


def _deeper_than(value: Any, levels: int) -> bool:
    """Whether JSON is nested more deeply than `levels`, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _indented(value: Any, line: str) -> str:
    """Returns a value's text, in which every line but the first begins with `line`."""
    # The commonest first, since records hold hundreds of them.
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is float and math.isfinite(value):
        return repr(value)
    inner = line + "  "
    if kind is dict and value:
        entries = [f"{_key(k)}: {_indented(v, inner)}" for k, v in value.items()]
        return f"{{{inner}{f',{inner}'.join(entries)}{line}}}"
    if kind in (list, tuple) and value:
        entries = [_indented(part, inner) for part in value]
        return f"[{inner}{f',{inner}'.join(entries)}{line}]"
    # Empty ones, other numbers, subclasses, and what cannot be written.
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", line)


def _key(key: Any) -> str:
    if type(key) is str:
        return _quoted(key)
    # Other keys become texts; json knows how.
    return json.dumps({key: 0}).removeprefix("{").removesuffix(": 0}")
