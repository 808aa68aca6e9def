"""Flags for one job per recycled prompt, as the paper's code lists them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from prompt_tuning_recycling.sweep.plan import Item

_OTHER_SIZES = ("Large", "XL", "XXL")


def lines(items: Iterable[Item]) -> list[str]:
    """Returns a line of flags for each recycled prompt.

    The paper's model names say which model to load: `Default` and `Seed 2000` have
    size base; `Large`, `XL` and `XXL` have the size that they name. The last word of
    any other name is passed as the seed.
    """
    return [_line(item) for item in items]


def _line(item: Item) -> str:
    size, seed = "base", item.target.split()[-1]
    if item.target == "Default":
        seed = "default"
    elif item.target in _OTHER_SIZES:
        seed, size = "default", item.target.lower()
    flags = {
        "seed": seed,
        "size": size,
        "prompt_file": item.output,
        "output_base_dir": item.eval_dir,
    }
    return " ".join(f"--{name}={shlex.quote(flag)}" for name, flag in flags.items())
