"""A sweep's report: one HTML page that needs no network and holds its pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from prompt_tuning_recycling.files import is_remote
from prompt_tuning_recycling.sweep import comparison, pictures
from prompt_tuning_recycling.sweep.comparison import Judged, grouped, quartiles, success
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.evaluations import Group, Kind
from prompt_tuning_recycling.sweep.html_parts import escape, heat_map, page, table
from prompt_tuning_recycling.sweep.results import Results

_MOST_GAPS = 50


def report(sweep: Configuration, results: Results, metric: str) -> str:
    """Returns the page.

    Args:
      sweep: the sweep.
      results: its results, as far as there are any.
      metric: the one that prompts are compared by; higher is better.
    """
    return page(
        f"Recycled prompts: {sweep.dataset}", _Page(sweep, results, metric).parts()
    )


class _Page:
    def __init__(self, sweep: Configuration, results: Results, metric: str) -> None:
        self._sweep = sweep
        self._results = results
        self._metric = metric
        self._judged = comparison.judge(sweep, results, metric)
        self._methods = list(grouped(self._judged, lambda one: one.item.method))
        self._color = pictures.colors(self._methods)
        self._last = max((one.item.step for one in self._judged), default=0)

    def parts(self) -> Iterator[str]:
        yield f"<h1>Recycled prompts: {escape(self._sweep.dataset)}</h1>"
        yield from self._summary()
        if self._judged:
            yield from self._accuracies()
            yield from self._pairs()
            yield from self._influences()
            yield from self._prompts()
        yield from self._missing()
        yield "<h2>Configuration</h2>"
        yield f"<p>{escape(self._sweep.path)}, as it was when this was written:</p>"
        yield f"<pre>{escape(self._sweep.text)}</pre>"

    def _summary(self) -> Iterator[str]:
        sweep = self._sweep
        yield (
            f"<p>Task <code>{escape(sweep.task_name)}</code>; "
            f"{len(sweep.pretrained)} models ({escape(', '.join(sweep.pretrained))}), "
            f"{len(sweep.pairs())} pairs of source and target; {len(sweep.inits)} "
            f"initializations of {len(sweep.runs)} runs each; "
            f"{len(sweep.methods)} ways to recycle. {len(self._judged)} recycled "
            f"prompts were evaluated, untrained on their target.</p>"
        )
        won, count = success(self._judged)
        if count:
            yield (
                f'<p class="big"><strong>{won} of {count} recycled prompts '
                f"({_percent(won, count)}) beat the baselines</strong> of their "
                f"target: {escape(self._baselines_in_words())}.</p>"
            )
            if count < len(self._judged):
                yield (
                    f"<p>Of {len(self._judged) - count} others nothing can be said, "
                    "since baselines of their target are missing.</p>"
                )
        elif self._judged:
            yield (
                "<p>Baselines are missing on every target, so nothing can be said of "
                "success.</p>"
            )
        else:
            yield "<p>No recycled prompt has been evaluated yet.</p>"
        if self._results.missing:
            yield (
                f"<p><strong>{len(self._results.missing)} results are missing</strong> "
                '(<a href="#missing">which</a>): figures are of those that there are.'
                "</p>"
            )

    def _baselines_in_words(self) -> str:
        kinds = {group.kind for one in self._judged for group in one.baselines}
        words = []
        if Kind.NO_PROMPT in kinds:
            words.append("the model without a prompt")
        if Kind.RANDOM in kinds:
            count = self._sweep.baselines.random_prompts
            words.append(f"the mean of {count} random prompts")
        if Kind.UNTUNED in kinds:
            words.append("the mean untuned prompt of the same initialization")
        return ", ".join(words)

    def _accuracies(self) -> Iterator[str]:
        yield f"<h2>{escape(self._metric.capitalize())} and success</h2>"
        baselines: dict[Group, list[float]] = {}
        by_target = comparison.baseline_values(self._results, self._metric)
        for (_, group), values in by_target.items():
            baselines.setdefault(group, []).extend(values)
        recycled = {
            name: [one.value for one in of_name]
            for name, of_name in grouped(
                self._judged, lambda one: one.item.method
            ).items()
        }
        tuned = {
            "tuned on the source": [
                float(t.metrics[self._metric])
                for t in self._results.tuned
                if t.step == self._last
            ]
        }
        rows = [
            [self._row(str(group), values) for group, values in baselines.items()],
            [
                self._row(name, values, self._of_method(name))
                for name, values in recycled.items()
            ],
            [self._row(name, values) for name, values in tuned.items() if values],
        ]
        yield table(
            ("", "success", "median", "middle half", "worst", "best", "prompts"), rows
        )
        yield (
            '<p class="note">Success: the recycled prompt is better than every '
            "baseline of its target. A source's prompt is shown at its last recycled "
            "step, as a limit, not as a baseline.</p>"
        )
        yield from self._same_map()
        yield '<div class="figures">'
        yield _figure(
            pictures.distributions(
                [
                    *((str(group), values, "") for group, values in baselines.items()),
                    *(
                        (name, values, self._color[name])
                        for name, values in recycled.items()
                    ),
                ],
                self._metric,
                len(baselines),
            ),
            "Every dot is a prompt on a target; the thick line holds the middle half, "
            "the upright one is the median. Baselines above, recycled prompts below.",
        )
        yield "</div>"

    def _of_method(self, name: str) -> list[Judged]:
        return [one for one in self._judged if one.item.method == name]

    def _row(
        self, name: str, values: Sequence[float], judged: Sequence[Judged] = ()
    ) -> list[str]:
        won, count = success(judged)
        low, middle, high = quartiles(values)
        return [
            escape(name),
            f"{_percent(won, count)}" if count else "",
            _number(middle),
            f"{_number(low)} to {_number(high)}",
            _number(min(values)),
            _number(max(values)),
            str(len(values)),
        ]

    def _same_map(self) -> Iterator[str]:
        """Two names for one method must not pass for two methods that agree."""
        linear = {
            method.name: (method.word_list, method.recycler.parameters())
            for method in self._sweep.methods
            if method.recycler.name in ("v2v-lin", "lin-comb")
        }
        same = [
            (one, two)
            for place, one in enumerate(linear)
            for two in list(linear)[place + 1 :]
            if linear[one] == linear[two]
        ]
        for one, two in same:
            yield (
                f'<p class="note">{escape(one)} and {escape(two)} are the same map by '
                "two ways, so they agree but for rounding.</p>"
            )

    def _pairs(self) -> Iterator[str]:
        yield "<h2>Pairs of models</h2>"
        models = list(self._sweep.pretrained)
        values = [one.value for one in self._judged]
        low, high = min(values), max(values)
        of_pair: Callable[[Judged], tuple[str, str]] = lambda one: (  # noqa: E731
            one.item.source,
            one.item.target,
        )
        yield "<p>Success rate, and below it the median "
        yield f"{escape(self._metric)}, over initializations, runs and steps.</p>"
        for title, cell in (
            ("success", self._success_cell),
            (
                f"median {self._metric}",
                lambda found: self._median_cell(found, low, high),
            ),
        ):
            yield '<div class="heats">'
            for method in self._methods:
                cells = {
                    pair: filled
                    for pair, found in grouped(self._of_method(method), of_pair).items()
                    if (filled := cell(found)) is not None
                }
                if cells:
                    yield heat_map(
                        f"{method}: {title}", models, models, cells, "from \\ to"
                    )
            yield "</div>"

    @staticmethod
    def _success_cell(found: Sequence[Judged]) -> tuple[float, str] | None:
        won, count = success(found)
        return (won / count, _percent(won, count)) if count else None

    @staticmethod
    def _median_cell(
        found: Sequence[Judged], low: float, high: float
    ) -> tuple[float, str]:
        middle = quartiles([one.value for one in found])[1]
        share = (middle - low) / (high - low) if high > low else 1.0
        return share, _number(middle)

    def _influences(self) -> Iterator[str]:
        yield "<h2>What makes a difference</h2>"
        yield '<div class="figures">'
        yield _figure(
            pictures.by_step(
                self._by(lambda one: one.item.step),
                self._color,
                "step of the source's tuning",
                self._metric,
            ),
            "By the step at which the source's prompt was recycled: median and middle "
            "half.",
        )
        by_init = [
            (
                f"{init}, {method}",
                [one.value for one in found],
                self._color[method],
            )
            for (init, method), found in sorted(
                grouped(
                    self._judged, lambda one: (one.item.init, one.item.method)
                ).items(),
                key=lambda entry: (
                    self._sweep.inits.index(entry[0][0]),
                    self._methods.index(entry[0][1]),
                ),
            )
        ]
        yield _figure(
            pictures.distributions(by_init, self._metric),
            "By the source prompt's initialization.",
        )
        words = {one.words for one in self._judged if one.words is not None}
        if len(words) > 1:
            by_words = self._by_words()
            yield _figure(
                pictures.by_step(
                    by_words,
                    pictures.colors(list(by_words)),
                    "words that the map is fitted on",
                    self._metric,
                ),
                "By the number of words, for each recycler: median and middle half.",
            )
        yield from self._residuals()
        yield "</div>"

    def _by(self, number: Callable[[Judged], int]) -> dict[str, dict[int, list[float]]]:
        return {
            method: {
                n: [one.value for one in found]
                for n, found in grouped(self._of_method(method), number).items()
            }
            for method in self._methods
        }

    def _by_words(self) -> dict[str, dict[int, list[float]]]:
        """Methods that differ in their words only are one recycler."""
        recycler = {m.name: m.recycler.name for m in self._sweep.methods}
        known = [one for one in self._judged if one.words is not None]
        return {
            name: {
                words: [one.value for one in found]
                for words, found in grouped(of_name, lambda one: one.words or 0).items()
            }
            for name, of_name in grouped(
                known, lambda one: recycler[one.item.method]
            ).items()
        }

    def _residuals(self) -> Iterator[str]:
        groups = grouped(
            self._judged,
            lambda one: (one.item.method, one.item.source, one.item.target, one.words),
        )
        for words, residual in (
            ("the words it was fitted on", lambda one: one.fitted),
            ("held-out words (1: no better than zero)", lambda one: one.held_out),
        ):
            points: dict[str, list[tuple[float, float]]] = {}
            for (method, *_), found in groups.items():
                x = residual(found[0])
                if x is not None:
                    middle = quartiles([one.value for one in found])[1]
                    points.setdefault(method, []).append((x, middle))
            if not points:
                continue
            yield _figure(
                pictures.scatter(
                    points,
                    self._color,
                    f"residual on {words}",
                    f"median {self._metric}",
                ),
                "Does a map that fits better carry prompts over better? A dot is a "
                "recycler on a pair of models.",
            )

    def _prompts(self) -> Iterator[str]:
        yield "<h2>Every prompt</h2>"
        for method in self._methods:
            of_method = self._of_method(method)
            rows = [self._prompt_row(one) for one in of_method]
            header = (
                "from",
                "to",
                "init",
                "run",
                "step",
                self._metric,
                "beats",
                "files",
            )
            yield f"<details><summary>{escape(method)} ({len(rows)})</summary>"
            yield table(header, [rows], "left")
            yield "</details>"

    def _prompt_row(self, one: Judged) -> list[str]:
        item = one.item
        beats = {True: "yes", False: "no", None: ""}[one.beats]
        prompt = self._link(item.output)
        return [
            escape(item.source),
            escape(item.target),
            escape(item.init),
            escape(item.run),
            str(item.step),
            _number(one.value),
            beats,
            f'<a href="{prompt}">prompt</a> <a href="{prompt}.json">provenance</a>',
        ]

    def _link(self, path: str) -> str:
        """Relative to the page, which lies at the top of the sweep's folder."""
        if is_remote(path):
            return escape(path)
        return escape(quote(os.path.relpath(path, self._sweep.root_dir)))

    def _missing(self) -> Iterator[str]:
        missing = self._results.missing
        if not missing:
            return
        yield f'<h2 id="missing">Missing results ({len(missing)})</h2><ul>'
        yield from (
            f"<li><code>{escape(gap)}</code></li>" for gap in missing[:_MOST_GAPS]
        )
        if len(missing) > _MOST_GAPS:
            yield f"<li>and {len(missing) - _MOST_GAPS} more</li>"
        yield "</ul>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _percent(part: int, whole: int) -> str:
    """Never rounded up to all, or down to none."""
    share = 100 * part / whole
    text = f"{share:.0f}"
    if (text == "100" and part < whole) or (text == "0" and part):
        text = f"{share:.1f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def _number(value: float) -> str:
    """Percentages with one digit, shares with three."""
    return f"{value:.1f}" if abs(value) >= 1.5 else f"{value:.3f}"
