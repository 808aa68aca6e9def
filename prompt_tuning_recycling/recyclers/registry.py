"""The registry of recyclers that gin, command lines and sweeps share."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import gin.config

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.recyclers.base import Recycler

RecyclerClass = TypeVar("RecyclerClass", bound=type[Recycler])

_BY_NAME: dict[str, type[Recycler]] = {}


def register(cls: RecyclerClass) -> RecyclerClass:
    """Registers a class of recyclers by its name and aliases, and in gin as
    `@recyclers.ClassName()`. Use it as a class decorator.

    Raises:
      ValueError: one of the names is taken.
    """
    for name in (cls.name, *cls.aliases):
        if name in _BY_NAME:
            raise ValueError(
                f"the recycler name {name!r} is taken by {_BY_NAME[name]}."
            )
        _BY_NAME[name] = cls
    return gin.config.register(cls, module="prompt_tuning_recycling.recyclers")


def names() -> list[str]:
    """Returns the recyclers' names, without aliases, in order of registration."""
    return list(dict.fromkeys(cls.name for cls in _BY_NAME.values()))


def get(name: str) -> type[Recycler]:
    """Returns the recycler class of that name or alias.

    Raises:
      RecyclingError: there is none; the message names the nearest ones.
    """
    if name not in _BY_NAME:
        raise RecyclingError(
            f"there is no recycler {name!r}." + did_you_mean(name, _BY_NAME)
        )
    return _BY_NAME[name]


def make(recycler: str | Recycler, **parameters: Any) -> Recycler:
    """Returns the named recycler with these parameters, or a given one with new ones.

    Raises:
      RecyclingError: the name is unknown, or the recycler lacks a parameter.
    """
    if not isinstance(recycler, (str, Recycler)):
        raise RecyclingError(
            f"expected a recycler or its name ({', '.join(names())}), found "
            f"{recycler!r}."
        )
    cls = get(recycler) if isinstance(recycler, str) else type(recycler)
    known = [field.name for field in dataclasses.fields(cls)]
    for parameter in parameters:
        if parameter not in known:
            raise RecyclingError(
                f"the recycler {cls.name} has no parameter {parameter!r}."
                + did_you_mean(parameter, known)
            )
    if isinstance(recycler, str):
        return cls(**parameters)
    return dataclasses.replace(recycler, **parameters)
