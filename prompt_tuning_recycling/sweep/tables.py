"""Results as tab-separated tables, with the columns of the paper's code.

A spreadsheet takes a text that begins with `=`, `+`, `-` or `@` for a formula, which
may run a program. Such a name gets an apostrophe in front; numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from prompt_tuning_recycling.sweep.results import Results

_COLUMNS = {"accuracy": "Acc"}
# With the wide forms of East Asian scripts, which some spreadsheets treat alike.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def training(results: Results, metrics: Sequence[str]) -> str:
    """Returns the tuning runs' table."""
    return _table(
        ("Model", "Init", "Run", "Step", *_named(metrics)),
        (
            (t.model, t.init, t.run, t.step, *(t.metrics[name] for name in metrics))
            for t in results.tuned
        ),
    )


def recycling(results: Results, metrics: Sequence[str]) -> str:
    """Returns the recycled prompts' table."""
    header = ("Recycler", "Init", "Run", "Source Model", "Target Model", "Step")
    return _table(
        (*header, *_named(metrics)),
        (
            (
                r.item.method,
                r.item.init,
                r.item.run,
                r.item.source,
                r.item.target,
                r.item.step,
                *(r.metrics[name] for name in metrics),
            )
            for r in results.recycled
        ),
    )


def baselines(results: Results, metrics: Sequence[str]) -> str:
    """Returns the table of the baselines."""
    return _table(
        ("Target Model", "Baseline", *_named(metrics)),
        (
            (
                b.baseline.target,
                b.baseline.name,
                *(b.metrics[name] for name in metrics),
            )
            for b in results.baselines
        ),
    )


def _named(metrics: Sequence[str]) -> list[str]:
    return [_COLUMNS.get(name, name) for name in metrics]


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in (header, *rows))
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or _is_number(value):
        return value
    # A line break in a cell would begin another row in some programs.
    text = re.sub(r"[\t\n\v\f\r]", " ", value)
    return f"'{text}" if _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text, re.ASCII) is not None
