"""The values that gin has read, before anything is made from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import gin.config

from prompt_tuning_recycling.errors import RecyclingError

MACRO = "gin.macro"

Config: TypeAlias = Mapping[tuple[str, str], Mapping[str, Any]]
"""What gin has read: (scope, configurable) -> parameter -> value. A macro NAME is the
parameter `value` of `gin.macro` in the scope NAME."""


class MadeLaterError(Exception):
    """A value that gin makes only when it is needed."""


def stated_macros(config: Config) -> dict[str, Any]:
    """Returns the value of each macro as it is stated, which may be another macro."""
    return {
        scope: parameters["value"]
        for (scope, configurable), parameters in config.items()
        if configurable == MACRO
    }


def used_macros(config: Config) -> set[str]:
    """Returns the names of the macros that something refers to."""
    return {
        _name(reference)
        for reference in gin.config.iterate_references(config)
        if _is_macro(reference)
    }


def resolved(
    value: Any, macros: Mapping[str, Any], within: tuple[str, ...] = ()
) -> Any:
    """Returns a value with its macros replaced by their values.

    Args:
      value: the value.
      macros: the macros as they are stated.
      within: the macros that the value is a part of.

    Raises:
      MadeLaterError: a configurable makes a part of it.
      RecyclingError: a macro stands for itself.
    """
    if isinstance(value, gin.config.ConfigurableReference):
        name = _name(value)
        if name in within:
            raise RecyclingError(f"{name} stands for itself. Set it to a value.")
        if _is_macro(value) and name in macros:
            return resolved(macros[name], macros, (*within, name))
        raise MadeLaterError
    if isinstance(value, dict):
        return {key: resolved(part, macros, within) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(resolved(part, macros, within) for part in value)
    return value


def _is_macro(reference: gin.config.ConfigurableReference) -> bool:
    return bool(reference.configurable.selector == MACRO)


def _name(reference: gin.config.ConfigurableReference) -> str:
    return "/".join(reference.scopes)
