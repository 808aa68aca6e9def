"""Compares what a run declares with what an earlier run declared, so that no record
describes something that did not happen. Two spellings of one path count as the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prompt_tuning_recycling.errors import RecyclingError


def check_same(
    then: Mapping[str, Any], now: Mapping[str, Any], what: str, advice: str
) -> None:
    """Raises RecyclingError if a setting has changed.

    Args:
      then: setting -> its value in the earlier run, JSON-compatible.
      now: setting -> its value now. A place (see `initial_prompts.place`) is the same
        if it shares a path with the earlier one.
      what: what the earlier run did, for the message.
      advice: what to do about it.
    """
    for name in dict.fromkeys([*now, *then]):
        before, after = then.get(name), now.get(name)
        if not _same(before, after):
            raise RecyclingError(
                f"{what} with {name} {_text(before)}, but now {name} is "
                f"{_text(after)}. {advice}"
            )


def _same(then: Any, now: Any) -> bool:
    if isinstance(then, Mapping) and isinstance(now, Mapping) and "path" in now:
        return any(value in now.values() for value in then.values())
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return all(map(_same, then, now))
    return bool(then == now)


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and "path" in value:
        value = value["path"]
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)
