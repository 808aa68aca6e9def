"""Recycled prompts compared with the baselines, and with each other."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.prompts import provenance_path
from prompt_tuning_recycling.sweep import layout
from prompt_tuning_recycling.sweep.configuration import WAYWARD, Configuration
from prompt_tuning_recycling.sweep.evaluations import NO_PROMPT
from prompt_tuning_recycling.sweep.plan import Item
from prompt_tuning_recycling.sweep.results import Results

Key = TypeVar("Key")

RANDOM = "random prompts"
UNTUNED = "untuned prompts"


@dataclasses.dataclass(frozen=True)
class Judged:
    """A recycled prompt's result.

    Attributes:
      item: which prompt.
      value: of the metric.
      baselines: what it is compared with: the model without a prompt, the mean of its
        random prompts, the mean of its untuned ones of the same initialisation; those
        that there are.
      fitted, held_out: the map's residual on words that it was fitted on, and on
        others, if known.
      words: how many words the map was fitted on, if known.
    """

    item: Item
    value: float
    baselines: Mapping[str, float]
    fitted: float | None
    held_out: float | None
    words: int | None

    @property
    def beats(self) -> bool | None:
        """Whether it is better than every baseline; None if there is none."""
        if not self.baselines:
            return None
        return self.value > max(self.baselines.values())


def judge(sweep: Configuration, results: Results, metric: str) -> list[Judged]:
    """Returns every recycled prompt's result, compared with the baselines."""
    fits = _fits(sweep)
    values = baseline_values(results, metric)
    found = []
    for recycled in results.recycled:
        item = recycled.item
        # Untuned prompts of another initialisation are no baseline for this one.
        other = f"{UNTUNED}, "
        compared = {
            name: statistics.fmean(numbers)
            for (target, name), numbers in values.items()
            if target == item.target
            and (not name.startswith(other) or name == f"{other}{item.init}")
        }
        fit = fits.get((item.method, item.source, item.target, item.init == WAYWARD))
        found.append(
            Judged(
                item,
                float(recycled.metrics[metric]),
                compared,
                fit["residual"]["fitted_words"] if fit else None,
                fit["residual"]["held_out_words"] if fit else None,
                fit["words"]["fitted"] if fit else None,
            )
        )
    return found


def baseline_values(
    results: Results, metric: str
) -> dict[tuple[str, str], list[float]]:
    """Returns target, baseline -> values: one without a prompt, several of the random
    prompts and of the untuned ones of each initialisation.
    """
    inits = list(dict.fromkeys(tuned.init for tuned in results.tuned))
    # The longest first: an initialisation's name may begin another's.
    prefixes = {layout.part(f"untuned-{i}-"): i for i in sorted(inits, key=len)[::-1]}
    found: dict[tuple[str, str], list[float]] = {}
    for baseline in results.baselines:
        name = RANDOM if baseline.name.startswith("random-") else baseline.name
        for prefix, init in prefixes.items():
            if baseline.name.startswith(prefix):
                name = f"{UNTUNED}, {init}"
                break
        if name == NO_PROMPT:
            name = "no prompt"
        value = float(baseline.metrics[metric])
        found.setdefault((baseline.target, name), []).append(value)
    return found


def success(judged: Iterable[Judged]) -> tuple[int, int]:
    """Returns how many beat every baseline, and of how many that can be said."""
    beats = [one.beats for one in judged if one.beats is not None]
    return sum(beats), len(beats)


def grouped(
    judged: Iterable[Judged], key: Callable[[Judged], Key]
) -> dict[Key, list[Judged]]:
    """Returns the results by a key, in the order in which the keys occur."""
    groups: dict[Key, list[Judged]] = {}
    for one in judged:
        groups.setdefault(key(one), []).append(one)
    return groups


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the quarter, half and three-quarter points."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _fits(
    sweep: Configuration,
) -> dict[tuple[str, str, str, bool], Mapping[str, Any]]:
    """What was recorded of each map."""
    found = {}
    for source, target in sweep.pairs():
        for method in sweep.methods:
            for wayward in (False, True):
                path = layout.recycler(
                    sweep.root_dir, method.name, source, target, wayward
                )
                try:
                    record = json.loads(as_path(provenance_path(path)).read_text())
                    for known in ("fitted_words", "held_out_words"):
                        record["residual"][known]
                    record["words"]["fitted"]
                except (OSError, ValueError, KeyError, TypeError):
                    continue
                found[method.name, source, target, wayward] = record
    return found
