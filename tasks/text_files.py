"""Reads examples from a TSV or JSONL file, one per line."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.files.json_files import parse_json, read_text

# Separates the choices of an example in a TSV file.
SEPARATOR = "|"


@dataclasses.dataclass(frozen=True)
class Example:
    """A line of a file.

    Attributes:
      inputs: a text.
      targets: the right answers: texts or labels.
      choices: the texts to rank, including a target; None if the line has none.
      place: the file and the line, for messages.
    """

    inputs: str
    targets: tuple[str, ...]
    choices: tuple[str, ...] | None
    place: str


def read_examples(path: epath.PathLike) -> list[Example]:
    """Reads a file in the format that its ending names.

    `.tsv`: UTF-8. The first line names the columns: `inputs`, `targets`, and optionally
    `choices` (separated by `|`); other columns are ignored. Quotes have no meaning: a
    tab always ends a field. `.jsonl`: one object per line, with `inputs`, `targets`
    (one text, or a list if several are right), and optionally `choices` (a list). Blank
    lines are skipped.

    Raises:
      RecyclingError: there is no such file, or a line is not an example.
    """
    file = as_path(path)
    parse = _FORMATS.get(file.suffix)
    if parse is None:
        raise RecyclingError(
            f"cannot read {path}: expected a file that ends in "
            f"{' or '.join(_FORMATS)}, found {file.suffix or 'no ending'}."
        )
    text = read_text(path, "the examples")
    # Not splitlines, which also ends lines at characters that texts may contain.
    lines = text.replace("\r\n", "\n").split("\n")
    numbered = [(n, line) for n, line in enumerate(lines, start=1) if line.strip()]
    examples = list(parse(numbered, str(path)))
    if not examples:
        raise RecyclingError(f"there are no examples in {path}.")
    return examples


def _tsv(lines: Sequence[tuple[int, str]], path: str) -> Iterator[Example]:
    if not lines:
        return
    header, first = lines[0]
    columns = first.split("\t")
    for column in ("inputs", "targets"):
        if column not in columns:
            raise RecyclingError(
                f"{path}: expected the first line to name the columns inputs and "
                f"targets, and optionally choices, separated by tabs; found "
                f"{', '.join(column[:40] for column in columns[:10])}."
            )
    twice, times = collections.Counter(columns).most_common(1)[0]
    if times > 1:
        raise RecyclingError(
            f"{path}, line {header}: there are two columns {twice!r}. Rename or remove "
            "one of them."
        )
    for number, line in lines[1:]:
        fields = line.split("\t")
        place = f"{path}, line {number}"
        if len(fields) != len(columns):
            raise RecyclingError(
                f"{place}: expected {len(columns)} fields separated by tabs, found "
                f"{len(fields)}."
            )
        record = dict(zip(columns, fields, strict=True))
        choices = record.get("choices")
        yield Example(
            record["inputs"],
            (record["targets"],),
            _once(choices.split(SEPARATOR), f"{place}: choices") if choices else None,
            place,
        )


def _jsonl(lines: Sequence[tuple[int, str]], path: str) -> Iterator[Example]:
    for number, line in lines:
        place = f"{path}, line {number}"
        record = parse_json(line, place)
        if not isinstance(record, Mapping):
            raise RecyclingError(
                f"{place}: expected an object such as "
                '{"inputs": "...", "targets": "..."}, '
                f"found {line[:40]}."
            )
        for key in ("inputs", "targets"):
            if key not in record:
                raise RecyclingError(
                    f"{place}: there is no {key!r}." + did_you_mean(key, record)
                )
        if not isinstance(record["inputs"], str):
            raise RecyclingError(f"{place}: inputs: expected a text.")
        if record["targets"] == []:
            raise RecyclingError(f"{place}: targets: expected at least one.")
        choices = record.get("choices")
        yield Example(
            record["inputs"],
            _texts(record["targets"], f"{place}: targets"),
            None if choices is None else _texts(choices, f"{place}: choices"),
            place,
        )


def _texts(value: Any, what: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise RecyclingError(
                f"{what}: expected a text, a whole number or a list of them, found "
                f"{json.dumps(value)[:80]}."
            )
    return _once([str(value) for value in values], what)


def _once(values: Sequence[str], what: str) -> tuple[str, ...]:
    for value, times in collections.Counter(values).most_common(1):
        if times > 1:
            raise RecyclingError(f"{what}: {value!r} is there twice. Remove one.")
    return tuple(values)


_FORMATS: dict[str, Callable[[Sequence[tuple[int, str]], str], Iterator[Example]]] = {
    ".tsv": _tsv,
    ".jsonl": _jsonl,
}
