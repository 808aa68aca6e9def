"""The candidates of a choice: one prompt recycled in several ways."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.initial_prompts import Recycled
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.prompts import Prompt

if TYPE_CHECKING:
    from jaxtyping import Shaped

    Array: TypeAlias = Shaped[np.ndarray, "..."]
    Once: TypeAlias = Callable[[Callable[[], Array]], Array]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The prompts to choose among.

    Attributes:
      prompts: name -> prompt, in the order in which they were given.
      left_out: name -> why there is no such prompt.
    """

    prompts: dict[str, Prompt]
    left_out: dict[str, str]


def recycle(
    kind: Recycled,
    names: Sequence[str | recyclers.Recycler],
    target: Model,
    length: int,
) -> Candidates:
    """Recycles a prompt by each of several recyclers. One that cannot be used for this
    pair of models, such as `copy` for models of different widths, is left out.

    Args:
      kind: what to recycle; its own recycler is not used.
      names: the recyclers or their names.
      target: the model that the prompts are for.
      length: how many vectors the model expects.

    Raises:
      RecyclingError: as `named`, or no recycler can be used.
    """
    made: dict[str, Prompt] = {}
    left_out: dict[str, str] = {}
    ways = named(names)
    recycled = kind.make_in_ways(list(ways.values()), target, length)
    for name, prompt in zip(ways, recycled, strict=True):
        if isinstance(prompt, RecyclingError):
            left_out[name] = str(prompt)
        else:
            made[name] = prompt
    if not made:
        raise RecyclingError(_why_none(left_out))
    for name, why in left_out.items():
        logger.info("%s is left out: %s", name, why)
    return Candidates(made, left_out)


def named(
    candidates: Sequence[str | recyclers.Recycler],
) -> dict[str, recyclers.Recycler]:
    """Returns the recyclers by their names.

    Args:
      candidates: the recyclers or their names.

    Raises:
      RecyclingError: there are none, one is unknown, or one is there twice.
    """
    if not candidates:
        raise RecyclingError(
            f"CANDIDATES is empty. Expected some of {', '.join(recyclers.names())}."
        )
    found: dict[str, recyclers.Recycler] = {}
    for recycler in map(recyclers.make, candidates):
        if recycler.name in found:
            raise RecyclingError(
                f"CANDIDATES: {recycler.name!r} is there twice. Give it once."
            )
        found[recycler.name] = recycler
    return found


def _why_none(left_out: dict[str, str]) -> str:
    reasons = list(dict.fromkeys(left_out.values()))
    # What is wrong with the models or the prompt is wrong for every recycler.
    if len(reasons) == 1:
        return reasons[0]
    listed = " ".join(f"{name}: {why}" for name, why in left_out.items())
    return f"no candidate could be made. {listed}"


def made_once(make: Callable[[], Candidates], once: Once) -> Candidates:
    """Makes candidates on one process, and returns the same bits on all.

    Args:
      make: makes them.
      once: calls a function on one process and returns its result on all of them.
    """
    here: list[Candidates] = []

    def header() -> np.ndarray:
        made = make()
        here.append(made)
        text = {
            "left_out": made.left_out,
            "prompts": {
                name: {"site": prompt.site, "record": dict(prompt.record)}
                for name, prompt in made.prompts.items()
            },
        }
        return np.frombuffer(json.dumps(text).encode(), np.uint8)

    def arrays() -> np.ndarray:
        return np.stack([prompt.array for prompt in here[0].prompts.values()])

    read = json.loads(np.asarray(once(header)).tobytes())
    stacked = np.asarray(once(arrays), np.float32)
    prompts = {
        name: Prompt(array, one["site"], one["record"])
        for array, (name, one) in zip(stacked, read["prompts"].items(), strict=True)
    }
    return Candidates(prompts, read["left_out"])
