"""The macros that the command line sets. Gin does not tell where a value comes from,
and what a user types must never be without effect.
"""

from __future__ import annotations

import contextlib
import contextvars
import re
import sys
from collections.abc import Iterator, Sequence

_MACRO = re.compile(
    r"(?:--gin\.|(?:--gin_bindings=)?)([A-Z][A-Z0-9_]*) *=.*", re.DOTALL
)

_given: contextvars.ContextVar[Sequence[str] | None] = contextvars.ContextVar(
    "given", default=None
)


def given_names() -> set[str]:
    """Returns the names of the macros that the command line sets."""
    arguments = _given.get()
    found = map(_MACRO.fullmatch, sys.argv[1:] if arguments is None else arguments)
    return {match[1] for match in found if match}


@contextlib.contextmanager
def given(arguments: Sequence[str]) -> Iterator[None]:
    """Replaces the process's own command line inside the `with`."""
    before = _given.set(arguments)
    try:
        yield
    finally:
        _given.reset(before)
