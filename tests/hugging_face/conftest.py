"""Tests against the libraries of Hugging Face, which the package itself never uses."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

LIBRARIES = ("torch", "transformers", "peft")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if not missing:
        return
    here = pathlib.Path(__file__).parent
    reason = f"needs {', '.join(LIBRARIES)}; not installed: {', '.join(missing)}"
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
