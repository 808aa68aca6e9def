"""Checks of recyclers' parameters."""

from __future__ import annotations

import math
from typing import Any

from prompt_tuning_recycling.errors import RecyclingError


def check_whole(name: str, value: Any) -> None:
    """Raises RecyclingError unless `value` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RecyclingError(
            f"expected {name} to be a whole number of at least 1, got {value}."
        )


def check_positive(name: str, value: Any) -> None:
    """Raises RecyclingError unless `value` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RecyclingError(
            f"expected {name} to be above 0, got {value!r}, which has the wrong type: "
            "it is no number."
        )
    if not (math.isfinite(value) and value > 0):
        raise RecyclingError(f"expected {name} to be above 0, got {value}.")


def check_boolean(name: str, value: Any) -> None:
    """Raises RecyclingError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise RecyclingError(f"expected {name} to be true or false, got {value!r}.")
