"""Compares recycled prompts with the baselines and with each other."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.json_files import DAMAGED, read_json
from prompt_tuning_recycling.prompts.prompt import record_path
from prompt_tuning_recycling.sweep import layout
from prompt_tuning_recycling.sweep.configuration import WAYWARD, Configuration
from prompt_tuning_recycling.sweep.evaluations import Group, groups_for
from prompt_tuning_recycling.sweep.plan import Item
from prompt_tuning_recycling.sweep.results import Results

Key = TypeVar("Key")
One = TypeVar("One")


@dataclasses.dataclass(frozen=True)
class Judged:
    """A recycled prompt's result.

    Attributes:
      item: the prompt.
      value: the metric's value.
      baselines: the available ones of the baselines that it is compared with: the model
        without a prompt, the mean of its random prompts, and the mean of its untuned
        prompts with the same initialization.
      complete: whether these are all baselines that the configuration asks for.
      fitted, held_out: the map's residuals on the words that it was fitted on and on
        held-out words, if known.
      words: how many words the map was fitted on, if known.
    """

    item: Item
    value: float
    baselines: Mapping[Group, float]
    complete: bool
    fitted: float | None
    held_out: float | None
    words: int | None

    @property
    def beats(self) -> bool | None:
        """Whether it is better than every baseline; None if any baseline is missing or
        there are none.
        """
        if not self.baselines or not self.complete:
            return None
        return self.value > max(self.baselines.values())


def judge(sweep: Configuration, results: Results, metric: str) -> list[Judged]:
    """Returns every recycled prompt's result, compared with the baselines."""
    values = baseline_values(results, metric)
    fit = functools.cache(_fit)
    found = []
    for recycled in results.recycled:
        item = recycled.item
        wanted = groups_for(sweep, item.init)
        compared = {
            group: statistics.fmean(values[item.target, group])
            for group in wanted
            if (item.target, group) in values
        }
        value, complete = float(recycled.metrics[metric]), len(compared) == len(wanted)
        path = layout.recycler(
            sweep.root_dir, item.method, item.source, item.target, item.init == WAYWARD
        )
        found.append(Judged(item, value, compared, complete, *fit(path)))
    return found


def baseline_values(
    results: Results, metric: str
) -> dict[tuple[str, Group], list[float]]:
    """Returns target, baseline -> values: one value without a prompt, and several for
    random prompts and for the untuned prompts of each initialization.
    """
    found: dict[tuple[str, Group], list[float]] = {}
    for one in results.baselines:
        key = one.baseline.target, one.baseline.group
        found.setdefault(key, []).append(float(one.metrics[metric]))
    return found


def success(judged: Iterable[Judged]) -> tuple[int, int]:
    """Returns how many beat every baseline, and for how many this is known."""
    beats = [one.beats for one in judged if one.beats is not None]
    return sum(beats), len(beats)


def grouped(results: Iterable[One], key: Callable[[One], Key]) -> dict[Key, list[One]]:
    """Returns key -> results, in the order in which the keys occur."""
    groups: dict[Key, list[One]] = {}
    for one in results:
        groups.setdefault(key(one), []).append(one)
    return groups


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the first quartile, the median and the third quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _fit(path: str) -> tuple[float | None, float | None, int | None]:
    """The last three fields of `Judged`, from a map's record."""
    try:
        record = read_json(record_path(path), "the record")
        residual, words = record["residual"], record["words"]["fitted"]
        fitted, held_out = residual["fitted_words"], residual["held_out_words"]
    except (RecyclingError, *DAMAGED):
        return None, None, None
    words = words if _number(words) is not None else None
    return _number(fitted), _number(held_out), words


def _number(value: Any) -> float | None:
    """A number from a record; None if there is none, as when no words were held out."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None
