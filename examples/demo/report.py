"""The demo's report: one HTML page that contains its pictures."""

from __future__ import annotations

import pathlib
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from examples.demo import results, story
from examples.demo.results import Outcome
from prompt_tuning_recycling.sweep.report import figures, palette
from prompt_tuning_recycling.sweep.report.rendering import render

_COLORS = palette.colors(story.TARGETS)
_CHANCE = {"sentiment": 50, "topic": 25}


def page(outcomes: Sequence[Outcome], examples: Mapping[str, object]) -> str:
    """Returns the page.

    Args:
      outcomes: the results of all trials.
      examples: a command to show for each of `choose` and `eval`.
    """
    won, count = results.success(outcomes, [story.CHOSEN])
    of_paper, paper_count = results.success(outcomes, story.PAPER)
    return render(
        "report.html.jinja",
        pathlib.Path(__file__).parent,
        won=won,
        count=count,
        of_paper=of_paper,
        paper_count=paper_count,
        accuracies=figures.svg(accuracies(outcomes)),
        columns=results.COLUMNS,
        groups=[[row.cells() for row in rows] for rows in results.rows(outcomes)],
        choose=examples["choose"],
        recycle=examples["eval"],
        by_step=figures.svg(by_step(outcomes)),
        further=figures.svg(further(outcomes)),
        enough=f"{results.ENOUGH:.0f}",
        eval_period=story.TARGET_EVAL_PERIOD,
        steps_chosen=results.steps_needed(outcomes, story.FURTHER),
        steps_from_words=results.steps_needed(outcomes, story.TUNED),
    )


@matplotlib.rc_context(figures.STYLE)
def accuracies(outcomes: Sequence[Outcome]) -> Figure:
    """Draws every trial's accuracy, by method and task."""
    methods = [
        *story.BASELINES,
        *(f"recycled by {name}" for name in story.RECYCLERS),
        story.CHOSEN,
        *story.REFERENCES,
    ]
    figure, axes = _plots(0.34 * len(methods) + 0.9)
    # The dots are spread a little, the same way every time.
    rng = random.Random(0)
    for axis, task in zip(axes, story.TASKS, strict=True):
        for height, method in enumerate(reversed(methods)):
            name = method.removeprefix("recycled by ")
            found = [o for o in results.of(outcomes, name) if o.trial.task == task]
            for outcome in found:
                axis.plot(
                    outcome.accuracy,
                    height + rng.uniform(-0.25, 0.25),
                    "o",
                    markersize=5,
                    alpha=0.65,
                    markeredgewidth=0,
                    color=_COLORS[outcome.trial.model],
                )
            mean = statistics.fmean(o.accuracy for o in found)
            axis.plot([mean, mean], [height - 0.38, height + 0.38], "k", linewidth=2)
        axis.axvline(_CHANCE[task], linestyle=":", color=palette.LINE, zorder=0)
        axis.axhspan(
            len(story.REFERENCES) - 0.5,
            len(story.REFERENCES) + 0.5,
            color=palette.SHADE,
            zorder=0,
        )
        axis.set_title(task)
        axis.set_xlabel("accuracy on the target, percent")
        axis.set_xlim(0, 103)
    axes[0].set_yticks(range(len(methods)), reversed(methods))
    _legend(figure)
    return figure


@matplotlib.rc_context(figures.STYLE)
def by_step(outcomes: Sequence[Outcome]) -> Figure:
    """Draws the accuracy on the source and on the targets over the steps of tuning on
    the source.
    """
    figure, axes = _plots(2.8)
    for axis, task in zip(axes, story.TASKS, strict=True):
        on_source = _cell(outcomes, story.ON_SOURCE, task, story.SOURCE)[0]
        steps, values = on_source.by_relative_step()
        axis.plot(steps, values, "o--", color=palette.GRAY, markersize=4)
        for model, color in _COLORS.items():
            found = _cell(outcomes, story.BY_STEP, task, model)
            last = _cell(outcomes, story.RECYCLERS[0], task, model)[0]
            curve = [(o.trial.step, o.accuracy) for o in found]
            curve.append((steps[-1], last.accuracy))
            axis.plot(*zip(*curve, strict=True), "o-", color=color)
        _finish(axis, task, "steps of tuning on the source")
    axes[0].set_ylabel("accuracy, percent")
    _legend(figure, {"source": palette.GRAY, **_COLORS})
    return figure


@matplotlib.rc_context(figures.STYLE)
def further(outcomes: Sequence[Outcome]) -> Figure:
    """Draws the accuracy during tuning on the target, from two starting prompts."""
    figure, axes = _plots(2.8)
    styles = {story.FURTHER: "-", story.TUNED: "--"}
    for axis, task in zip(axes, story.TASKS, strict=True):
        for model, color in _COLORS.items():
            for method, style in styles.items():
                (outcome,) = _cell(outcomes, method, task, model)
                axis.plot(*outcome.by_relative_step(), style, color=color)
        _finish(axis, task, "steps of tuning on the target")
    axes[0].set_ylabel("accuracy, percent")
    names = {"-": "from a chosen prompt", "--": "from random words"}
    handles = [Line2D([], [], color="k", linestyle=style) for style in names]
    axes[1].legend(handles, names.values(), frameon=False, loc="lower right")
    _legend(figure)
    return figure


def save_svg(figure: Figure, path: pathlib.Path) -> None:
    """Writes a picture to a file."""
    path.write_text(figures.svg(figure))


def _plots(height: float) -> tuple[Figure, Sequence[Axes]]:
    """Makes one plot per task, side by side."""
    figure = Figure(figsize=(9, height))
    return figure, figure.subplots(1, len(story.TASKS), sharey=True)


def _cell(
    outcomes: Iterable[Outcome], method: str, task: str, model: str
) -> list[Outcome]:
    found = results.of(outcomes, method)
    return [o for o in found if (o.trial.task, o.trial.model) == (task, model)]


def _finish(axis: Axes, task: str, xlabel: str) -> None:
    axis.axhline(_CHANCE[task], linestyle=":", color=palette.LINE, zorder=0)
    axis.set_title(task)
    axis.set_xlabel(xlabel)
    axis.set_ylim(0, 103)


def _legend(figure: Figure, colors: Mapping[str, str] = _COLORS) -> None:
    figure.set_layout_engine("tight", rect=(0, 0, 1, 0.92))
    figure.legend(
        [Line2D([], [], color=c, marker="o", linestyle="") for c in colors.values()],
        list(colors),
        loc="upper left",
        ncols=len(colors),
        frameon=False,
    )
