"""The tables of a report that show what was chosen, and what that was worth."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

from prompt_tuning_recycling.sweep.configuration import Choice, Configuration
from prompt_tuning_recycling.sweep.report import regret
from prompt_tuning_recycling.sweep.report.comparison import grouped
from prompt_tuning_recycling.sweep.report.numerals import number, percent
from prompt_tuning_recycling.sweep.report.regret import Hindsight, Worth
from prompt_tuning_recycling.sweep.results import Results

Rows = list[list[str]]


def content(
    sweep: Configuration, results: Results, metric: str
) -> list[dict[str, Any]]:
    """Returns the template's variables for each choice that was made."""
    cells = regret.look_back(results, metric)
    counts = collections.Counter(one.choice.name for one in results.chosen)
    return [
        {
            "choice": choice,
            "made": counts[choice.name],
            "known": len(cells[choice.name]),
            **(_tables(choice, cells[choice.name]) if cells[choice.name] else {}),
        }
        for choice in sweep.choices
        if choice.name in cells
    ]


def _tables(choice: Choice, cells: Sequence[Hindsight]) -> dict[str, Any]:
    largest = max(one.best for one in cells)
    chosen = regret.of_choice(cells)
    return {
        "row": _worth_row(choice.name, chosen, largest),
        "worth": _worth(choice, cells, chosen, largest),
        "best_in": chosen.best,
        "best_rate": percent(chosen.best, chosen.cells),
        "mean_regret": number(chosen.mean_regret, largest),
        "worst_regret": number(chosen.worst_regret, largest),
        "pairs": _pairs(cells, largest),
        "cells": [_cell(one, largest) for one in cells],
    }


def _worth(
    choice: Choice, cells: Sequence[Hindsight], chosen: Worth, largest: float
) -> list[Rows]:
    """Groups of rows: each candidate alone, the choice, and the best candidates."""
    taken = collections.Counter(one.chosen.outcome.chosen for one in cells)
    alone = []
    for name in choice.candidates:
        if any(name in one.values for one in cells):
            worth = regret.of_candidate(cells, name)
            times = percent(taken[name], worth.cells) or ""
            alone.append([*_worth_row(f"always {name}", worth, largest), times])
    best = _worth_row("the best, known afterwards", regret.of_best(cells), largest)
    return [
        alone,
        [[*_worth_row(choice.name, chosen, largest), ""]],
        [[*best, ""]],
    ]


def _worth_row(name: str, worth: Worth, largest: float) -> list[str]:
    numbers = (worth.mean, worth.worst, worth.mean_regret, worth.worst_regret)
    return [
        name,
        *(number(value, largest) for value in numbers),
        percent(worth.best, worth.cells),
        str(worth.cells),
    ]


def _pairs(cells: Sequence[Hindsight], largest: float) -> Rows:
    """A row for each pair of models."""
    pairs = grouped(cells, lambda one: (one.chosen.cell.source, one.chosen.cell.target))
    rows = []
    for (source, target), of_pair in pairs.items():
        taken = collections.Counter(one.chosen.outcome.chosen for one in of_pair)
        worth = regret.of_choice(of_pair)
        rows.append(
            [
                source,
                target,
                _counted(taken),
                number(worth.mean, largest),
                number(worth.worst, largest),
                number(worth.mean_regret, largest),
                number(worth.worst_regret, largest),
                f"{worth.best} of {worth.cells}",
            ]
        )
    return rows


def _counted(taken: collections.Counter[str]) -> str:
    if len(taken) == 1:
        return next(iter(taken))
    return ", ".join(f"{name} {count}" for name, count in taken.most_common())


def _cell(one: Hindsight, largest: float) -> list[str]:
    cell, outcome = one.chosen.cell, one.chosen.outcome
    value = outcome.values[outcome.chosen][outcome.criterion]
    # Of equally good candidates, the first is named.
    best = max(one.values, key=lambda name: one.values[name])
    return [
        cell.source,
        cell.target,
        cell.init,
        cell.run,
        str(cell.step),
        outcome.chosen,
        f"{value:.3f}",
        number(one.value, largest),
        outcome.chosen if one.regret <= 0 else best,
        number(one.regret, largest),
    ]
