"""What the study's sweeps show together, as a page of tables.

A cell is a prompt (task, length, run, step of the tuning) with a source and a target.
Intervals are the middle 95 % of 10,000 bootstrap samples of the pairs of source and
target: cells of one pair have the same map, so they are not independent.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from prompt_tuning_recycling.sweep import configuration, results
from prompt_tuning_recycling.sweep.report import comparison
from prompt_tuning_recycling.sweep.report.comparison import Judged

METRIC = "accuracy"
SAMPLES = 10_000
BEST = "the best of all, known afterwards"
# Source accuracies between these, in percent, are those of a weak teacher.
WEAK = (60.0, 90.0)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A recycled or chosen prompt's result.

    Attributes:
      task, length: the sweep's.
      judged: the accuracy on the target and the map's residual.
      on_source: the source prompt's accuracy on its own model, in percent.
    """

    task: str
    length: int
    judged: Judged
    on_source: float

    @property
    def key(self) -> tuple[object, ...]:
        """What cells of several methods have in common."""
        item = self.judged.item
        return self.task, self.length, item.run, item.source, item.target, item.step

    @property
    def pair(self) -> tuple[str, str]:
        """The source and the target."""
        return self.judged.item.source, self.judged.item.target


def summary(sweeps: Mapping[tuple[str, int], str]) -> str:
    """Returns the page as Markdown.

    Args:
      sweeps: task and length -> the configuration of a sweep whose results are there.
    """
    cells: list[Cell] = []
    methods: list[str] = []
    recyclers: set[str] = set()
    for (task, length), config in sweeps.items():
        sweep = configuration.load(config)
        read = results.read(sweep, [METRIC])
        on_source = {
            (one.model, one.run, one.step): float(one.metrics[METRIC])
            for one in read.tuned
        }
        for judged in comparison.judge(sweep, read, METRIC):
            item = judged.item
            accuracy = on_source[item.source, item.run, item.step]
            cells.append(Cell(task, length, judged, accuracy))
        methods = list(sweep.method_names)
        recyclers = {method.name for method in sweep.methods}
    last = max(cell.judged.item.step for cell in cells)
    tuned = [cell for cell in cells if cell.judged.item.step == last]
    weak = [cell for cell in cells if WEAK[0] <= cell.on_source <= WEAK[1]]
    parts = ["# What the study shows"]
    for length in dict.fromkeys(cell.length for cell in cells):
        found = [cell for cell in tuned if cell.length == length]
        title = f"Prompts of {length} vectors, tuned to the end"
        parts.append(_table(title, found, methods, recyclers))
    low, high = (f"{bound:.0f}" for bound in WEAK)
    title = f"Weak source prompts: {low} to {high} % on the source"
    parts += [_table(title, weak, methods, recyclers), _residuals(tuned, recyclers)]
    return "\n\n".join(parts) + "\n"


def _table(
    title: str, cells: Sequence[Cell], methods: Sequence[str], recyclers: set[str]
) -> str:
    """One line for each method: mean, worst, and the share that beats all baselines."""
    if not cells:
        return f"## {title}\n\nThere are none."
    lines = [
        f"## {title}",
        "",
        f"{len({cell.key for cell in cells})} cells of "
        f"{len({cell.pair for cell in cells})} pairs. Accuracy on the target, percent.",
        "",
        "| | cells | mean | 95 % interval | worst | beats all baselines |",
        "|---|---|---|---|---|---|",
    ]
    for method in methods:
        found = [cell for cell in cells if cell.judged.item.method == method]
        if found:
            lines.append(_line(method, found))
    best: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        if cell.judged.item.method in recyclers:
            known = best.get(cell.key)
            if known is None or cell.judged.value > known.judged.value:
                best[cell.key] = cell
    lines.append(_line(BEST, list(best.values())))
    return "\n".join(lines)


def _line(name: str, cells: Sequence[Cell]) -> str:
    values = [cell.judged.value for cell in cells]
    low, high = interval(cells, lambda cell: cell.judged.value)
    won, known = comparison.success(cell.judged for cell in cells)
    share = f"{won} of {known} ({100 * won / known:.0f} %)" if known else ""
    return (
        f"| {name} | {len(cells)} | {statistics.fmean(values):.1f} | "
        f"{low:.1f} to {high:.1f} | {min(values):.1f} | {share} |"
    )


def interval(
    cells: Iterable[Cell], value: Callable[[Cell], float]
) -> tuple[float, float]:
    """Returns the bootstrap interval of the mean, clustered by pair."""
    of_pair: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        of_pair.setdefault(cell.pair, []).append(value(cell))
    sums = np.array([sum(values) for values in of_pair.values()])
    counts = np.array([len(values) for values in of_pair.values()])
    drawn = np.random.default_rng(0).integers(len(sums), size=(SAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _residuals(cells: Sequence[Cell], recyclers: set[str]) -> str:
    """How the residual on held-out words goes with accuracy, pair by pair."""
    lines = [
        "## Residual and accuracy",
        "",
        "Rank correlation, over pairs of models, of a map's residual on held-out words "
        "with the mean accuracy of the prompts that it carried over; and the accuracy "
        "where the residual was highest.",
        "",
        "| | pairs | residuals | correlation | mean accuracy at the highest residual |",
        "|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(cell.judged.item.method for cell in cells):
        if method not in recyclers:
            continue
        of_pair: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            if cell.judged.item.method == method and cell.judged.held_out is not None:
                of_pair.setdefault(cell.pair, []).append(cell)
        residuals = [found[0].judged.held_out or 0.0 for found in of_pair.values()]
        means = [
            statistics.fmean(cell.judged.value for cell in found)
            for found in of_pair.values()
        ]
        if len(set(residuals)) < 2:
            continue
        lines.append(
            f"| {method} | {len(residuals)} | {min(residuals):.2f} to "
            f"{max(residuals):.2f} | {_correlation(residuals, means)} | "
            f"{means[int(np.argmax(residuals))]:.1f} |"
        )
    return "\n".join(lines)


def _correlation(one: Sequence[float], other: Sequence[float]) -> str:
    from scipy import stats

    if len(set(one)) < 2 or len(set(other)) < 2:
        return "all equal"
    return f"{stats.spearmanr(one, other).statistic:.2f}"
