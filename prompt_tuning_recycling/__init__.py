"""Prompt recycling: carry a soft prompt from one language model to another.

Lester et al. 2022, "Reducing Retraining by Recycling Parameter-Efficient
Prompts", https://arxiv.org/abs/2208.05577.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Installed, gin/ and tasks/ lie inside the package. In a checkout they lie beside it;
# a program started there finds the checkout's package, whatever is installed.
_folder = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_folder, "tasks")):
    __path__.append(os.path.dirname(_folder))

# Loaded on first use: importing the package must cost nothing, in a notebook as
# in a T5X job that only looks for its gin configurables.
_HOME = {
    "Checkpoint": "checkpoints",
    "FittedRecycler": "recyclers",
    "RecycledPrompt": "recycled_prompt",
    "Recycler": "recyclers",
    "RecyclingError": "errors",
    "Words": "words",
    "load_prompt": "prompts",
    "open_checkpoint": "checkpoints",
    "recycle_prompt": "recycled_prompt",
    "save_prompt": "prompts",
}

__all__ = [
    "Checkpoint",
    "FittedRecycler",
    "RecycledPrompt",
    "Recycler",
    "RecyclingError",
    "Words",
    "load_prompt",
    "open_checkpoint",
    "recycle_prompt",
    "recyclers",
    "save_prompt",
]

if TYPE_CHECKING:
    from prompt_tuning_recycling import recyclers
    from prompt_tuning_recycling.checkpoints import Checkpoint, open_checkpoint
    from prompt_tuning_recycling.errors import RecyclingError
    from prompt_tuning_recycling.prompts import load_prompt, save_prompt
    from prompt_tuning_recycling.recycled_prompt import RecycledPrompt, recycle_prompt
    from prompt_tuning_recycling.recyclers import FittedRecycler, Recycler
    from prompt_tuning_recycling.words import Words


def __getattr__(name: str) -> Any:
    if name == "recyclers":
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
