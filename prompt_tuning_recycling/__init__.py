"""Prompt recycling: carry a soft prompt from one language model to another.

Lester et al. 2022, "Reducing Retraining by Recycling Parameter-Efficient
Prompts", https://arxiv.org/abs/2208.05577.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from prompt_tuning_recycling.version import __version__

# In an installed package, gin/ and tasks/ are inside it. In a checkout they are beside
# it; a program started there finds the checkout's package, whatever is installed.
_folder = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_folder, "tasks")):
    __path__.append(os.path.dirname(_folder))

# Loaded on first use: importing the package must cost nothing, in a notebook and in a
# T5X job that only needs its gin configurables.
_HOME = {
    "AlignedWords": "words",
    "Model": "models",
    "Prompt": "prompts",
    "RecycledPrompt": "recycling",
    "Recycler": "recyclers",
    "RecyclingError": "errors",
    "Words": "words",
    "load_map": "maps",
    "load_prompt": "prompts",
    "open_model": "models",
    "recycle_prompt": "recycling",
    "save_adapter": "prompts",
    "save_map": "maps",
}
_MODULES = ("maps", "recyclers")

__all__ = [
    "AlignedWords",
    "Model",
    "Prompt",
    "RecycledPrompt",
    "Recycler",
    "RecyclingError",
    "Words",
    "__version__",
    "load_map",
    "load_prompt",
    "maps",
    "open_model",
    "recycle_prompt",
    "recyclers",
    "save_adapter",
    "save_map",
]

if TYPE_CHECKING:
    from prompt_tuning_recycling import maps, recyclers
    from prompt_tuning_recycling.errors import RecyclingError
    from prompt_tuning_recycling.maps import load_map, save_map
    from prompt_tuning_recycling.models import Model, open_model
    from prompt_tuning_recycling.prompts import Prompt, load_prompt, save_adapter
    from prompt_tuning_recycling.recyclers import Recycler
    from prompt_tuning_recycling.recycling import RecycledPrompt, recycle_prompt
    from prompt_tuning_recycling.words import AlignedWords, Words


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
