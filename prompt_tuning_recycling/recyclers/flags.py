"""Flags for recyclers' parameters on a command line: one for each field of their
dataclasses, explained by the classes' docstrings.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.recyclers import registry
from prompt_tuning_recycling.recyclers.base import Recycler
from prompt_tuning_recycling.recyclers.v2v_nn import VocabToVocabMLP


def add_flags(group: argparse._ArgumentGroup) -> None:
    """Adds a flag for every parameter that some recycler has. What is not given is
    None, and then the recycler's own default holds.
    """
    for name in dict.fromkeys(n for cls in _classes() for n in _names(cls)):
        owners = [cls for cls in _classes() if name in _names(cls)]
        if all(_accepted(cls, name) == {bool} for cls in owners):
            action: Any = argparse.BooleanOptionalAction
        else:
            action = "store"
        group.add_argument(f"--{name}", action=action, help=_help(name, owners))


def from_flags(recycler: str, flags: argparse.Namespace) -> Recycler:
    """Returns the recycler of that name with the parameters that were given.

    The parameters of v2v-nn may be given with every recycler, as scripts for the
    paper's code do; the others ignore them.

    Raises:
      RecyclingError: there is no such recycler, it lacks another parameter that was
        given, or a value is of another type.
    """
    cls = registry.get(recycler)
    every = dict.fromkeys(name for one in _classes() for name in _names(one))
    given = {name: value for name in every if (value := vars(flags)[name]) is not None}
    lacking = [
        name for name in given if name not in {*_names(cls), *_names(VocabToVocabMLP)}
    ]
    if lacking:
        own = ", ".join(f"--{name}" for name in _names(cls)) or "none"
        raise RecyclingError(
            f"the recycler {cls.name} has no parameter for "
            f"{', '.join(f'--{name}' for name in lacking)}. Its flags: {own}."
        )
    return cls(
        **{
            name: _value(cls, name, value)
            for name, value in given.items()
            if name in _names(cls)
        }
    )


def _classes() -> Iterable[type[Recycler]]:
    return [registry.get(name) for name in registry.names()]


def _names(cls: type[Recycler]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _accepted(cls: type[Recycler], name: str) -> set[Any]:
    """Returns the types that a field accepts."""
    hint = typing.get_type_hints(cls)[name]
    return {type(None), *(typing.get_args(hint) or {hint})} - {type(None)}


def _value(cls: type[Recycler], name: str, given: Any) -> Any:
    """Turns a flag's text into a value for a field."""
    hint = typing.get_type_hints(cls)[name]
    if typing.get_origin(hint) in (tuple, list, Sequence):
        return tuple(given.split(","))
    accepted = _accepted(cls, name)
    expected: list[str] = []
    for kind, what in ((int, "a whole number"), (float, "a number")):
        if kind in accepted:
            expected.append(what)
            with contextlib.suppress(ValueError):
                return kind(given)
    words = [word for kind in accepted for word in typing.get_args(kind)]
    if bool in accepted or str in accepted or given in words:
        return given
    expected += words
    raise RecyclingError(
        f"expected --{name} to be {' or '.join(expected)}, found {given!r}."
    )


def _help(name: str, owners: Iterable[type[Recycler]]) -> str:
    """Says what a parameter is, for which recyclers, and their defaults."""
    found: dict[str, list[str]] = {}
    for cls in owners:
        default = {f.name: f.default for f in dataclasses.fields(cls)}[name]
        text = _explained(cls, name)
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        # The text explains what None stands for.
        if default is not None and not isinstance(default, bool):
            text += f" (default: {default})"
        found.setdefault(text, []).append(cls.name)
    whole = "; ".join(f"{', '.join(names)}: {text}" for text, names in found.items())
    return whole.replace("%", "%%")


def _explained(cls: type[Recycler], name: str) -> str:
    """Returns what the docstring's attributes say of a field, on one line."""
    _, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    entry = re.search(rf"^  {name}: (.*(?:\n    .*)*)", attributes, re.M)
    return " ".join(entry[1].split()).rstrip(".") if entry else name
