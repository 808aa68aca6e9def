"""What training runs and evaluations have written: a sweep's results, and its gaps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prompt_tuning_recycling.errors import did_you_mean
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.sweep import layout
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.evaluations import baselines
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
class Baseline:
    """A baseline's metrics on a target."""

    target: str
    name: str
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Results:
    """All that there is of a sweep, in its configuration's order.

    Attributes:
      tuned: at the steps that are recycled, and at the untuned one.
      recycled: by method, initialisation, run, source, target and step.
      baselines: by target.
      missing: what is not there yet, or cannot be read, and why.
    """

    tuned: tuple[Tuned, ...]
    recycled: tuple[Recycled, ...]
    baselines: tuple[Baseline, ...]
    missing: tuple[str, ...]


class _Missing(Exception):  # noqa: N818 (the ordinary case, halfway through a sweep)
    pass


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
      metrics: the metrics that are wanted of each.
      training: whether to read those of the tuning runs.
      evaluation: whether to read those of recycled prompts and baselines.
    """
    missing: list[str] = []
    tuned = list(_tuned(sweep, metrics, missing)) if training else []
    recycled, compared = [], []
    if evaluation:
        recycled = list(_recycled(sweep, metrics, missing))
        compared = list(_baselines(sweep, metrics, missing))
    return Results(
        tuple(tuned), tuple(recycled), tuple(compared), tuple(dict.fromkeys(missing))
    )


def _tuned(
    sweep: Configuration, metrics: Sequence[str], missing: list[str]
) -> Iterator[Tuned]:
    for model, inits in sweep.prompts.items():
        for init, runs in inits.items():
            for run, model_dir in runs.items():
                path = layout.metrics(model_dir, sweep.task_name)
                try:
                    by_step = _by_step(path)
                    wanted = sweep.steps if sweep.steps is not None else by_step
                    for step in sorted(wanted):
                        if step not in by_step:
                            missing.append(f"{path}: no metrics of step {step}")
                            continue
                        found = _wanted(by_step[step], metrics, path)
                        yield Tuned(model, init, run, step, found)
                except _Missing as gap:
                    missing.append(str(gap))


def _recycled(
    sweep: Configuration, metrics: Sequence[str], missing: list[str]
) -> Iterator[Recycled]:
    plan = Plan(sweep)
    pairs = plan.pairs()
    for pair in pairs:
        missing += [f"{folder}: {why}" for folder, why in pair.unlisted]
    methods = [method.name for method in sweep.methods]
    models = list(sweep.pretrained)

    def place(item: Item) -> tuple[int, ...]:
        return (
            methods.index(item.method),
            sweep.inits.index(item.init),
            sweep.runs.index(item.run),
            models.index(item.source),
            models.index(item.target),
            item.step,
        )

    items = [item for pair in pairs for item in pair.items]
    for item in sorted(items, key=place):
        try:
            yield Recycled(item, _last(item.eval_dir, sweep.task_name, metrics))
        except _Missing as gap:
            missing.append(str(gap))


def _baselines(
    sweep: Configuration, metrics: Sequence[str], missing: list[str]
) -> Iterator[Baseline]:
    for target in sweep.pretrained:
        for name, evaluation in baselines(sweep, target):
            try:
                found = _last(evaluation.output_dir, sweep.task_name, metrics)
                yield Baseline(target, name, found)
            except _Missing as gap:
                missing.append(str(gap))


def _last(
    output_dir: str, task_name: str, metrics: Sequence[str]
) -> Mapping[str, float]:
    """An evaluation that was done again has appended to its file."""
    path = layout.metrics(output_dir, task_name)
    return _wanted(list(_by_step(path).values())[-1], metrics, path)


def _by_step(path: str) -> dict[int, Mapping[str, Any]]:
    """The last metrics of each step, in the order of the file."""
    try:
        text = as_path(path).read_text()
    except OSError as error:
        raise _Missing(f"{path}: {error.strerror or 'not there'}") from error
    found: dict[int, Mapping[str, Any]] = {}
    try:
        for line in text.splitlines():
            record = json.loads(line)
            step = int(record["step"])
            found.pop(step, None)
            found[step] = record
    except (ValueError, KeyError, TypeError) as error:
        raise _Missing(f"{path}: cannot be read: {error!r}") from error
    if not found:
        raise _Missing(f"{path}: empty")
    return found


def _wanted(
    record: Mapping[str, Any], metrics: Sequence[str], path: str
) -> dict[str, float]:
    found = {}
    for name in metrics:
        if name not in record:
            known = [key for key in record if key != "step"]
            meant = did_you_mean(name, known)
            raise _Missing(f"{path}: there is no metric {name!r}.{meant}")
        found[name] = record[name]
    return found
