"""What choices were worth: the chosen prompts beside the best ones, which only labels
tell.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence

from prompt_tuning_recycling.sweep.choices import Chosen
from prompt_tuning_recycling.sweep.results import Results


@dataclasses.dataclass(frozen=True, eq=False)
class Hindsight:
    """A choice beside what labels say.

    Attributes:
      chosen: the choice.
      values: candidate -> its metric.
    """

    chosen: Chosen
    values: Mapping[str, float]

    @property
    def value(self) -> float:
        """The metric of the chosen prompt."""
        return self.values[self.chosen.outcome.chosen]

    @property
    def best(self) -> float:
        """The metric of the best candidate, known afterwards."""
        return max(self.values.values())

    @property
    def regret(self) -> float:
        """What the best candidate has more than the chosen one; 0 if it was chosen."""
        return self.best - self.value

    def regret_of(self, candidate: str) -> float:
        """What the best candidate has more than another one."""
        return self.best - self.values[candidate]


@dataclasses.dataclass(frozen=True)
class Worth:
    """What a way to choose is worth over several cells.

    Attributes:
      cells: how many cells.
      mean, worst: of the metric.
      mean_regret, worst_regret: of the regret against the best candidate.
      best: in how many cells no candidate is better.
    """

    cells: int
    mean: float
    worst: float
    mean_regret: float
    worst_regret: float
    best: int


def look_back(results: Results, metric: str) -> dict[str, list[Hindsight]]:
    """Returns choice -> its cells, of which every candidate's metric is known."""
    values = {one.item.eval_dir: float(one.metrics[metric]) for one in results.recycled}
    found: dict[str, list[Hindsight]] = {}
    for chosen in results.chosen:
        known = {
            name: values[item.eval_dir]
            for name, item in chosen.candidates.items()
            if item.eval_dir in values
        }
        cells = found.setdefault(chosen.choice.name, [])
        if len(known) == len(chosen.candidates):
            cells.append(Hindsight(chosen, known))
    return found


def worth(values: Sequence[float], regrets: Sequence[float]) -> Worth:
    """Returns what a way to choose is worth.

    Args:
      values: the metric in each cell.
      regrets: the regret in each cell.
    """
    return Worth(
        len(values),
        statistics.fmean(values),
        min(values),
        statistics.fmean(regrets),
        max(regrets),
        sum(regret <= 0 for regret in regrets),
    )


def of_choice(cells: Sequence[Hindsight]) -> Worth:
    """Returns what a choice was worth."""
    return worth([one.value for one in cells], [one.regret for one in cells])


def of_candidate(cells: Iterable[Hindsight], candidate: str) -> Worth:
    """Returns what it would be worth to take the same candidate always, in the cells
    that have it.
    """
    having = [one for one in cells if candidate in one.values]
    return worth(
        [one.values[candidate] for one in having],
        [one.regret_of(candidate) for one in having],
    )


def of_best(cells: Sequence[Hindsight]) -> Worth:
    """Returns what it would be worth to know the best candidate."""
    return worth([one.best for one in cells], [0.0 for _ in cells])
