"""The demo's numbers: the results of all trials."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence

from examples.demo import story

BEST = "the best of all, known afterwards"
BEST_RANDOM = f"the best of {story.RANDOM_PROMPTS} random prompts"
ENOUGH = 95.0
"""Tuning is timed until it reaches this accuracy, in percent."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A trial's accuracies by step, in percent; an evaluation has one."""

    trial: story.Trial
    curve: tuple[tuple[int, float], ...]

    @property
    def accuracy(self) -> float:
        """The last accuracy."""
        return self.curve[-1][1]

    def by_relative_step(self) -> tuple[list[int], list[float]]:
        """Returns steps, counted from the run's first, and their accuracies."""
        first = self.curve[0][0]
        steps, accuracies = zip(*self.curve, strict=True)
        return [step - first for step in steps], list(accuracies)


@dataclasses.dataclass(frozen=True)
class Row:
    """A method's accuracies, in percent; for a recycler, also how many of its prompts
    beat every baseline.
    """

    method: str
    accuracies: tuple[float, ...]
    successes: int | None = None

    def summary(self) -> tuple[float, float, float, float]:
        """Returns the mean, the standard deviation, the worst and the best."""
        values = self.accuracies
        mean, spread = statistics.fmean(values), statistics.pstdev(values)
        return mean, spread, min(values), max(values)

    def cells(self) -> list[str]:
        """Returns the row's cells as text, in the order of `COLUMNS`."""
        values = [f"{value:.1f}" for value in self.summary()]
        successes = "" if self.successes is None else str(self.successes)
        return [self.method, *values, str(len(self.accuracies)), successes]


COLUMNS = ("accuracy, percent", "mean", "spread", "worst", "best", "trials", "beat all")


def of(outcomes: Iterable[Outcome], method: str) -> list[Outcome]:
    """Returns the outcomes of a method."""
    return [outcome for outcome in outcomes if outcome.trial.method == method]


def rows(outcomes: Sequence[Outcome]) -> list[list[Row]]:
    """Returns the table's rows: baselines, recyclers, the choice, and references."""

    def row(method: str) -> Row:
        return Row(method, tuple(o.accuracy for o in of(outcomes, method)))

    def recycler(method: str) -> Row:
        successes = sum(beats_baselines(o, outcomes) for o in of(outcomes, method))
        return dataclasses.replace(row(method), successes=successes)

    best_random = Row(BEST_RANDOM, tuple(_best(outcomes, [story.RANDOM], _cell)))
    best = Row(BEST, tuple(_best(outcomes, (*story.RECYCLERS, story.COPIED), _trial)))
    return [
        [*map(row, story.BASELINES), best_random],
        list(map(recycler, story.RECYCLERS)),
        [recycler(story.CHOSEN), best],
        [*map(row, story.REFERENCES), row(story.ON_SOURCE)],
    ]


def _cell(trial: story.Trial) -> tuple[object, ...]:
    return trial.task, trial.model


def _trial(trial: story.Trial) -> tuple[object, ...]:
    return trial.task, trial.model, trial.seed


def _best(
    outcomes: Iterable[Outcome],
    methods: Collection[str],
    key: Callable[[story.Trial], tuple[object, ...]],
) -> list[float]:
    """Returns the best accuracy that these methods have for each key."""
    best: dict[tuple[object, ...], float] = {}
    for outcome in outcomes:
        if outcome.trial.method in methods:
            of_key = key(outcome.trial)
            best[of_key] = max(outcome.accuracy, best.get(of_key, 0.0))
    return list(best.values())


def beats_baselines(recycled: Outcome, outcomes: Iterable[Outcome]) -> bool:
    """Whether a recycled prompt is better than each baseline of its task, model and
    seed, and better than the mean of the random prompts.
    """
    trial = recycled.trial
    same = [
        o
        for o in outcomes
        if (o.trial.task, o.trial.model) == (trial.task, trial.model)
    ]
    others = [
        o.accuracy
        for method in (story.NO_PROMPT, story.UNTUNED, story.COPIED)
        for o in of(same, method)
        if o.trial.seed in (None, trial.seed)
    ]
    random = statistics.fmean(o.accuracy for o in of(same, story.RANDOM))
    return recycled.accuracy > max(*others, random)


def success(outcomes: Iterable[Outcome], methods: Sequence[str]) -> tuple[int, int]:
    """Returns how many prompts of these methods beat all baselines, and out of how
    many.
    """
    outcomes = list(outcomes)
    recycled = [o for method in methods for o in of(outcomes, method)]
    return sum(beats_baselines(o, outcomes) for o in recycled), len(recycled)


def steps_to(outcome: Outcome, accuracy: float = ENOUGH) -> int | None:
    """Returns the steps until tuning first reached an accuracy; None if it did not."""
    start = outcome.curve[0][0]
    return next((step - start for step, a in outcome.curve if a >= accuracy), None)


def steps_needed(outcomes: Iterable[Outcome], method: str) -> str:
    """Describes the steps that tuning took to reach `ENOUGH`, over all cells."""
    steps = [steps_to(outcome) for outcome in of(outcomes, method)]
    reached = [step for step in steps if step is not None]
    if not reached:
        return "never"
    text = f"{statistics.median(reached):.0f} steps (median; most {max(reached)})"
    missing = len(steps) - len(reached)
    return text + (f", {missing} of {len(steps)} did not get there" if missing else "")


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns the table for the terminal."""
    lines = [_line(COLUMNS)]
    for group in rows(outcomes):
        lines += ["", *(_line(row.cells()) for row in group)]
    chosen, of_chosen = success(outcomes, [story.CHOSEN])
    won, count = success(outcomes, story.PAPER)
    lines += [
        "",
        f"{chosen} of {of_chosen} prompts that were chosen without labels beat every "
        "baseline of",
        "their task and model. Of those that the paper's recyclers make, "
        f"{won} of {count} do.",
        f"To {ENOUGH:.0f} % on the target, tuning takes "
        f"{steps_needed(outcomes, story.FURTHER)} from a",
        f"chosen prompt, and {steps_needed(outcomes, story.TUNED)} from scratch.",
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:36}" + "".join(f"{cell:>9}" for cell in cells[1:])
