"""The content of a sweep's report as plain data; the words are in the template."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from markupsafe import Markup

from prompt_tuning_recycling.files import is_remote
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.evaluations import Kind
from prompt_tuning_recycling.sweep.plan import Item
from prompt_tuning_recycling.sweep.report import (
    choice_tables,
    comparison,
    figures,
    palette,
)
from prompt_tuning_recycling.sweep.report.comparison import (
    Judged,
    grouped,
    quartiles,
    success,
)
from prompt_tuning_recycling.sweep.report.numerals import number, percent
from prompt_tuning_recycling.sweep.results import Results

_WORST = 3
Key = TypeVar("Key")
Cells = dict[tuple[str, str], tuple[float, str]]
"""Source, target -> the share from 0 to 1 that sets the color, and the text."""


def content(sweep: Configuration, results: Results, metric: str) -> dict[str, Any]:
    """Returns the template's variables; see `report`."""
    judged = comparison.judge(sweep, results, metric)
    # A choice takes prompts that are there already, so they count once.
    chose = {choice.name for choice in sweep.choices}
    recycled = [one for one in judged if one.item.method not in chose]
    won, known = success(recycled)
    kinds = {group.kind for one in judged for group in one.baselines}
    shown = {
        "sweep": sweep,
        "metric": metric,
        "missing": results.missing,
        "evaluated": len(recycled),
        "known": known,
        "won": won,
        "rate": percent(won, known),
        "chosen_won": [
            (name, won, known, percent(won, known))
            for name, found in grouped(judged, lambda one: one.item.method).items()
            if name in chose
            for won, known in [success(found)]
            if known
        ],
        "baselines": [kind.name for kind in Kind if kind in kinds],
    }
    return shown | (_comparisons(sweep, results, metric, judged) if judged else {})


def _comparisons(
    sweep: Configuration, results: Results, metric: str, judged: Sequence[Judged]
) -> dict[str, Any]:
    of_method = grouped(judged, lambda one: one.item.method)
    color = palette.colors(of_method)
    baselines: dict[str, list[float]] = {}
    of_target = comparison.baseline_values(results, metric)
    for (_, group), found in of_target.items():
        baselines.setdefault(str(group), []).extend(found)
    last = max(one.item.step for one in judged)
    tuned = [float(t.metrics[metric]) for t in results.tuned if t.step == last]
    values = {name: _values(found) for name, found in of_method.items()}
    of_inits = _values_by(judged, lambda one: (one.item.init, one.item.method))
    steps = {
        name: _values_by(found, lambda one: one.item.step)
        for name, found in of_method.items()
    }
    return {
        "statistics": [
            [_statistics(*baseline) for baseline in baselines.items()],
            [_statistics(name, values[name], of_method[name]) for name in of_method],
            [_statistics("tuned on the source", tuned)] if tuned else [],
        ],
        "same_maps": _same_maps(sweep),
        "distributions": figures.distributions(
            [(name, found, palette.GRAY) for name, found in baselines.items()]
            + [(name, found, color[name]) for name, found in values.items()],
            metric,
            divided_after=len(baselines),
        ),
        "choices": choice_tables.content(sweep, results, metric),
        "worst_cells": _worst_cells(of_method),
        "heat_maps": _heat_maps(of_method, metric),
        "by_step": figures.by_step(steps, color, "step of the source's tuning", metric),
        "by_init": figures.distributions(
            [
                (f"{init}, {method}", of_inits[init, method], color[method])
                for init, method in itertools.product(sweep.inits, of_method)
                if (init, method) in of_inits
            ],
            metric,
        ),
        "by_words": _by_words(sweep, judged, metric),
        "by_residual": list(_by_residual(judged, color, metric)),
        "prompts": {
            method: [_prompt(one, sweep.root_dir) for one in found]
            for method, found in of_method.items()
        },
    }


def _values(judged: Iterable[Judged]) -> list[float]:
    return [one.value for one in judged]


def _values_by(
    judged: Iterable[Judged], key: Callable[[Judged], Key]
) -> dict[Key, list[float]]:
    return {name: _values(found) for name, found in grouped(judged, key).items()}


def _statistics(
    name: str, values: Sequence[float], judged: Iterable[Judged] = ()
) -> list[str]:
    low, middle, high = quartiles(values)
    return [
        name,
        percent(*success(judged)),
        number(middle),
        f"{number(low)} to {number(high)}",
        number(min(values)),
        number(max(values)),
        str(len(values)),
    ]


def _worst_cells(of_method: Mapping[str, Sequence[Judged]]) -> list[list[list[str]]]:
    """A group of rows for each method: its lowest values, from the lowest up."""
    return [
        [
            [method if rank == 0 else "", number(one.value), *_cell(one.item)]
            for rank, one in enumerate(
                sorted(found, key=lambda one: one.value)[:_WORST]
            )
        ]
        for method, found in of_method.items()
    ]


def _same_maps(sweep: Configuration) -> list[tuple[str, str]]:
    """Pairs of names for the same method, which must not look like two that agree."""
    linear = {
        method.name: (method.word_list, method.recycler.parameters())
        for method in sweep.methods
        if method.recycler.name in ("v2v-lin", "lin-comb")
    }
    pairs = itertools.combinations(linear, 2)
    return [(one, two) for one, two in pairs if linear[one] == linear[two]]


def _heat_maps(
    of_method: Mapping[str, Sequence[Judged]], metric: str
) -> list[dict[str, Cells]]:
    """Heat maps by title: first each method's success, then each method's median."""
    values = [one.value for found in of_method.values() for one in found]
    low, high = min(values), max(values)
    rates: dict[str, Cells] = {}
    medians: dict[str, Cells] = {}
    for method, found in of_method.items():
        pairs = grouped(found, lambda one: (one.item.source, one.item.target))
        for pair, of_pair in pairs.items():
            won, known = success(of_pair)
            if known:
                cells = rates.setdefault(f"{method}: success", {})
                cells[pair] = won / known, percent(won, known)
            middle = quartiles(_values(of_pair))[1]
            share = (middle - low) / (high - low) if high > low else 1.0
            cells = medians.setdefault(f"{method}: median {metric}", {})
            cells[pair] = share, number(middle)
    return [rates, medians]


def _by_words(
    sweep: Configuration, judged: Iterable[Judged], metric: str
) -> Markup | None:
    """Draws a line per recycler, joining methods that differ only in their words."""
    recycler = {method.name: method.recycler.name for method in sweep.methods}
    known = [one for one in judged if one.words is not None]
    if len({one.words for one in known}) < 2:
        return None
    values = {
        name: _values_by(found, lambda one: one.words or 0)
        for name, found in grouped(known, lambda one: recycler[one.item.method]).items()
    }
    color, words = palette.colors(values), "words that the map is fitted on"
    return figures.by_step(values, color, words, metric)


def _by_residual(
    judged: Iterable[Judged], color: Mapping[str, str], metric: str
) -> Iterator[Markup]:
    maps = grouped(
        judged,
        lambda one: (one.item.method, one.item.source, one.item.target, one.words),
    )
    for words, residual in (
        ("the words it was fitted on", lambda one: one.fitted),
        ("held-out words", lambda one: one.held_out),
    ):
        points: dict[str, list[tuple[float, float]]] = {}
        for (method, *_), found in maps.items():
            x = residual(found[0])
            if x is not None:
                middle = quartiles(_values(found))[1]
                points.setdefault(method, []).append((x, middle))
        if points:
            yield figures.scatter(
                points, color, f"residual on {words}", f"median {metric}"
            )


def _prompt(one: Judged, root_dir: str) -> list[str | dict[str, str]]:
    """A row of cells: each is text, or addresses by their names."""
    item = one.item
    path = item.output
    if not is_remote(path):
        # Relative to the page, which is at the top of the sweep's folder.
        path = quote(os.path.relpath(path, root_dir))
    return [
        *_cell(item),
        number(one.value),
        {True: "yes", False: "no", None: ""}[one.beats],
        {"prompt": path, "provenance": f"{path}.json"},
    ]


def _cell(item: Item) -> list[str]:
    return [item.source, item.target, item.init, item.run, str(item.step)]
