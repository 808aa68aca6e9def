"""The demo's report: one HTML page that holds its pictures."""

from __future__ import annotations

import html
import io
import pathlib
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from examples.demo import results, story
from examples.demo.results import Outcome

matplotlib.use("svg")
plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "demo",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)

# Of Okabe and Ito's palette, which the color-blind can tell apart.
_COLOURS = {"target-1": "#0072B2", "target-2": "#E69F00", "wide": "#009E73"}
_SOURCE_COLOUR = "#888888"
_CHANCE = {"sentiment": 50, "topic": 25}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .15rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody { border-top: 1px solid #999; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; font-size: .85rem; }
"""


def page(outcomes: Sequence[Outcome]) -> str:
    """Returns the page."""
    won, count = results.success(outcomes)
    example = results.of(outcomes, story.RECYCLERS[0])[0].trial.command
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Prompt recycling on tiny models</title>
<style>{_STYLE}</style>
<h1>Prompt recycling on tiny models</h1>
<p>Prompts of five vectors were tuned on one tiny T5, then recycled to three others: two
of the same size with other seeds, and a wider one. These models know tasks by their
instructions; in these trials they get none, only the text to be classified and the
prompt.</p>
<p>{won} of {count} recycled prompts ({100 * won / count:.0f} %) beat every baseline of
their task and model.</p>
{_svg(accuracies(outcomes))}
<p>Each dot is a trial: a task, a model and a prompt seed. The black bar is their mean,
the dotted line chance. All prompts start from words that tell nothing of the tasks:
their labels and the words that ask for them were left out. Only the random prompts may
contain them, and a lucky draw is an instruction.</p>
{_table(outcomes)}
<p>Spread is the standard deviation over the trials; “beat all” counts the recycled
prompts that are better than every baseline of their task, model and seed (of the random
prompts, than their mean). Each evaluates 256 texts, so a
figure near 90&nbsp;% is known to about two points.</p>
<p>v2v-lin and lin-comb are the same map, computed in two ways.</p>
<h2>How each was run</h2>
<p>All of it is done by gin files; a recycled prompt is evaluated by</p>
<pre>{html.escape(str(example))}</pre>
<h2>How long should the source's prompt be tuned?</h2>
{_svg(by_step(outcomes))}
<p>One prompt was taken at different steps of its tuning on the source (dashed: how good
it is there) and recycled by v2v-lin.</p>
<h2>A recycled prompt is a head start</h2>
{_svg(further(outcomes))}
<p>Tuning on the target reaches {results.ENOUGH:.0f}&nbsp;% after
{results.steps_needed(outcomes, story.FURTHER)} from a recycled prompt, and after
{results.steps_needed(outcomes, story.TUNED)} from random words.</p>
</html>
"""


def accuracies(outcomes: Sequence[Outcome]) -> Figure:
    """Draws every trial's accuracy, by method and task."""
    methods = [
        *story.BASELINES,
        *(f"recycled by {name}" for name in story.RECYCLERS),
        *story.REFERENCES,
    ]
    figure, axes = plt.subplots(1, len(story.TASKS), figsize=(9, 3.6), sharey=True)
    # The dots are spread a little, always in the same way.
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
                    color=_COLOURS[outcome.trial.model],
                )
            mean = statistics.fmean(o.accuracy for o in found)
            axis.plot([mean, mean], [height - 0.38, height + 0.38], "k", linewidth=2)
        axis.axvline(_CHANCE[task], linestyle=":", color="gray", zorder=0)
        axis.axhspan(
            len(story.REFERENCES) - 0.5,
            len(story.REFERENCES) + len(story.RECYCLERS) - 0.5,
            color="#f0f0f0",
            zorder=0,
        )
        axis.set_title(task)
        axis.set_xlabel("accuracy on the target, percent")
        axis.set_xlim(0, 103)
    axes[0].set_yticks(range(len(methods)), reversed(methods))
    _legend(figure)
    return figure


def by_step(outcomes: Sequence[Outcome]) -> Figure:
    """Draws the accuracy, on the source and on the targets, by the step of the source's
    tuning.
    """
    figure, axes = plt.subplots(1, len(story.TASKS), figsize=(9, 2.8), sharey=True)
    for axis, task in zip(axes, story.TASKS, strict=True):
        on_source = _cell(outcomes, story.ON_SOURCE, task, story.SOURCE)[0]
        steps, values = on_source.by_relative_step()
        axis.plot(steps, values, "o--", color=_SOURCE_COLOUR, markersize=4)
        for model, color in _COLOURS.items():
            found = _cell(outcomes, story.BY_STEP, task, model)
            last = _cell(outcomes, story.RECYCLERS[0], task, model)[0]
            curve = [(o.trial.step, o.accuracy) for o in found]
            curve.append((steps[-1], last.accuracy))
            axis.plot(*zip(*curve, strict=True), "o-", color=color)
        _finish(axis, task, "steps of tuning on the source")
    axes[0].set_ylabel("accuracy, percent")
    _legend(figure, {"source": _SOURCE_COLOUR, **_COLOURS})
    return figure


def further(outcomes: Sequence[Outcome]) -> Figure:
    """Draws the accuracy while tuning on the target, from two starts."""
    figure, axes = plt.subplots(1, len(story.TASKS), figsize=(9, 2.8), sharey=True)
    styles = {story.FURTHER: "-", story.TUNED: "--"}
    for axis, task in zip(axes, story.TASKS, strict=True):
        for model, color in _COLOURS.items():
            for method, style in styles.items():
                (outcome,) = _cell(outcomes, method, task, model)
                axis.plot(*outcome.by_relative_step(), style, color=color)
        _finish(axis, task, "steps of tuning on the target")
    axes[0].set_ylabel("accuracy, percent")
    names = {"-": "from a recycled prompt", "--": "from random words"}
    handles = [plt.Line2D([], [], color="k", linestyle=style) for style in names]
    axes[1].legend(handles, names.values(), frameon=False, loc="lower right")
    _legend(figure)
    return figure


def save_svg(figure: Figure, path: pathlib.Path) -> None:
    """Writes a picture to a file."""
    path.write_text(_svg(figure))


def _cell(
    outcomes: Iterable[Outcome], method: str, task: str, model: str
) -> list[Outcome]:
    found = results.of(outcomes, method)
    return [o for o in found if (o.trial.task, o.trial.model) == (task, model)]


def _finish(axis: plt.Axes, task: str, xlabel: str) -> None:
    axis.axhline(_CHANCE[task], linestyle=":", color="gray", zorder=0)
    axis.set_title(task)
    axis.set_xlabel(xlabel)
    axis.set_ylim(0, 103)


def _legend(figure: Figure, colors: Mapping[str, str] = _COLOURS) -> None:
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    figure.legend(
        [
            plt.Line2D([], [], color=c, marker="o", linestyle="")
            for c in colors.values()
        ],
        list(colors),
        loc="upper right",
        ncols=len(colors),
        frameon=False,
    )


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _table(outcomes: Sequence[Outcome]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells)

    lines = ["<table>", "<thead>", line(results.COLUMNS, "th")]
    for group in results.rows(outcomes):
        lines += ["<tbody>", *(line(row.cells(), "td") for row in group)]
    return "\n".join([*lines, "</table>"])
