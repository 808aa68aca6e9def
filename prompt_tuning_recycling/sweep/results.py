"""A sweep's results, and what is missing of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.evaluation import metrics_file
from prompt_tuning_recycling.files import holding
from prompt_tuning_recycling.sweep import choices, layout, outputs
from prompt_tuning_recycling.sweep.choices import Chosen
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.evaluations import Baseline, baselines
from prompt_tuning_recycling.sweep.plan import Item, Plan


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A tuning run's metrics at a step."""

    model: str
    init: str
    run: str
    step: int
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Recycled:
    """A recycled prompt's metrics."""

    item: Item
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Compared:
    """A baseline's metrics on its target."""

    baseline: Baseline
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Results:
    """All results of a sweep, in the order of its configuration.

    Attributes:
      tuned: the tuning runs at the configured steps, or at every step that has metrics
        if none are configured.
      recycled: sorted by method, initialization, run, source, target and step. Prompts
        that a choice took have the choice's name as their method.
      baselines: sorted by target.
      missing: what does not exist yet or cannot be read, and why.
      chosen: the choices, whether or not the prompts' metrics are there.
    """

    tuned: tuple[Tuned, ...]
    recycled: tuple[Recycled, ...]
    baselines: tuple[Compared, ...]
    missing: tuple[str, ...]
    chosen: tuple[Chosen, ...] = ()


def collecting(
    sweep: Configuration,
) -> contextlib.AbstractContextManager[holding.Hold]:
    """Lets one command at a time collect a sweep's results, so that all its files come
    from one reading. Others wait; on an object store, they do not.
    """
    place = layout.collecting(sweep.root_dir)
    what = f"another command collects the results in {sweep.root_dir}"
    return holding.held(place, what, "Wait until it ends.", wait=True)


def read(
    sweep: Configuration,
    metrics: Sequence[str],
    *,
    training: bool = True,
    evaluation: bool = True,
) -> Results:
    """Reads a sweep's results.

    Args:
      sweep: the sweep.
      metrics: the names of the metrics to read.
      training: whether to read the metrics of the tuning runs.
      evaluation: whether to read the metrics of recycled prompts and baselines.

    Raises:
      RecyclingError: names in the configuration lead to the same path.
    """
    pairs = Plan(sweep).pairs()
    outputs.check(sweep, pairs)
    missing: list[str] = []
    tuned = list(_tuned(sweep, metrics, missing)) if training else []
    recycled: list[Recycled] = []
    compared: list[Compared] = []
    chosen: list[Chosen] = []
    if evaluation:
        missing += [f"{folder}: {why}" for p in pairs for folder, why in p.unlisted]
        items = _in_order(sweep, [item for pair in pairs for item in pair.items])
        gaps: list[str] = []
        chosen = list(choices.choose(sweep, items, gaps))
        items = _in_order(sweep, [*items, *(one.item for one in chosen)])
        recycled = list(_recycled(sweep, items, metrics, missing))
        # An evaluation that is missing lacks its scores, too, and is listed first.
        missing += gaps
        compared = list(_baselines(sweep, metrics, missing))
    return Results(
        tuple(tuned),
        tuple(recycled),
        tuple(compared),
        tuple(dict.fromkeys(missing)),
        tuple(chosen),
    )


def _tuned(
    sweep: Configuration, metrics: Sequence[str], missing: list[str]
) -> Iterator[Tuned]:
    for model, inits in sweep.prompts.items():
        for init, runs in inits.items():
            for run, model_dir in runs.items():
                path = metrics_file.place(model_dir, sweep.task_name)
                try:
                    by_step = _by_step(path)
                except RecyclingError as gap:
                    missing.append(str(gap))
                    continue
                wanted = sweep.steps if sweep.steps is not None else by_step
                for step in sorted(wanted):
                    if step not in by_step:
                        missing.append(f"{path}: no metrics of step {step}")
                        continue
                    try:
                        found = _wanted(by_step[step], metrics, path)
                    except RecyclingError as gap:
                        missing.append(f"{gap} (step {step})")
                        continue
                    yield Tuned(model, init, run, step, found)


def _in_order(sweep: Configuration, items: Iterable[Item]) -> list[Item]:
    models = list(sweep.pretrained)

    def place(item: Item) -> tuple[int, ...]:
        return (
            sweep.method_names.index(item.method),
            sweep.inits.index(item.init),
            sweep.runs.index(item.run),
            models.index(item.source),
            models.index(item.target),
            item.step,
        )

    return sorted(items, key=place)


def _recycled(
    sweep: Configuration,
    items: Iterable[Item],
    metrics: Sequence[str],
    missing: list[str],
) -> Iterator[Recycled]:
    for item in items:
        try:
            yield Recycled(item, _last(item.eval_dir, sweep.task_name, metrics))
        except RecyclingError as gap:
            missing.append(str(gap))


def _baselines(
    sweep: Configuration, metrics: Sequence[str], missing: list[str]
) -> Iterator[Compared]:
    for target in sweep.pretrained:
        for baseline in baselines(sweep, target):
            place = baseline.evaluation.output_dir
            try:
                yield Compared(baseline, _last(place, sweep.task_name, metrics))
            except RecyclingError as gap:
                missing.append(str(gap))


def _last(
    output_dir: str, task_name: str, metrics: Sequence[str]
) -> Mapping[str, float]:
    """The last metrics: an evaluation that was repeated appended to its file."""
    path = metrics_file.place(output_dir, task_name)
    return _wanted(list(_by_step(path).values())[-1], metrics, path)


def _by_step(path: str) -> dict[int, Mapping[str, Any]]:
    """Step -> its last metrics, in the order of the file."""
    found: dict[int, Mapping[str, Any]] = {}
    for record in metrics_file.read(path):
        found.pop(record["step"], None)
        found[record["step"]] = record
    return found


def _wanted(
    record: Mapping[str, Any], metrics: Sequence[str], path: str
) -> dict[str, float]:
    found = {}
    for name in metrics:
        known = [key for key in record if key != "step"]
        if name not in known:
            meant = did_you_mean(name, known)
            raise RecyclingError(f"{path}: there is no metric {name!r}.{meant}")
        value = record[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            shown = json.dumps(value)[:60]
            raise RecyclingError(
                f"{path}: expected {name} to be a finite number, found {shown}."
            )
        found[name] = value
    return found
