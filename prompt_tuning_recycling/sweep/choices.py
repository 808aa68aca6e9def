"""Chooses, for each prompt of a source and each target, among the prompts that several
methods recycled. The jobs that evaluate them have written their scores on unlabeled
inputs, so a choice needs no model and no evaluation of its own.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prompt_tuning_recycling.choosing import choice as choosing
from prompt_tuning_recycling.choosing import criteria
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation import scores_file
from prompt_tuning_recycling.evaluation.scores_file import Scores
from prompt_tuning_recycling.prompts import Prompt, load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record, tidy
from prompt_tuning_recycling.sweep.configuration import Choice, Configuration
from prompt_tuning_recycling.sweep.evaluations import teacher_dir
from prompt_tuning_recycling.sweep.plan import Cell, Item, by_cell, chosen_output


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """A choice for a cell.

    Attributes:
      choice: what chose.
      cell: what it was chosen for.
      candidates: method -> prompt, the prompts to choose among.
      outcome: the chosen method, and what each candidate was worth.
      item: the chosen prompt under the choice's name. Its evaluation is the
        candidate's.
      record: how it was chosen, for the prompt's record.
    """

    choice: Choice
    cell: Cell
    candidates: Mapping[str, Item]
    outcome: choosing.Choice
    item: Item
    record: Mapping[str, Any]

    @property
    def taken(self) -> Item:
        """The candidate that was chosen."""
        return self.candidates[self.outcome.chosen]


def choose(
    sweep: Configuration, items: Iterable[Item], missing: list[str]
) -> Iterator[Chosen]:
    """Yields every choice of a sweep that can be made.

    Args:
      sweep: the sweep.
      items: the recycled prompts, in the order in which cells are to be chosen for.
      missing: gets what keeps a choice from being made.
    """
    cells = by_cell(items)
    read = functools.cache(_read)
    for choice in sweep.choices:
        for cell, of_methods in cells.items():
            candidates = {
                name: of_methods[name]
                for name in choice.candidates
                if name in of_methods
            }
            if not candidates:
                continue
            paths = {
                name: scores_file.place(item.eval_dir, choice.drawing)
                for name, item in candidates.items()
            }
            teacher = None
            if choice.teacher:
                folder = teacher_dir(sweep, cell)
                teacher = scores_file.place(folder, choice.drawing)
            found = {path: read(path) for path in [*paths.values(), teacher] if path}
            gaps = [str(gap) for gap in found.values() if not isinstance(gap, Scores)]
            scores = {k: v for k, v in found.items() if isinstance(v, Scores)}
            if not gaps:
                gaps = _disagreements(choice, scores)
            if gaps:
                missing += gaps
                continue
            yield _chosen(sweep, choice, cell, candidates, paths, teacher, scores)


def keep(chosen: Iterable[Chosen]) -> list[str]:
    """Writes each chosen prompt, with its record, to the folder of its choice. One that
    is there already is left alone.

    Returns:
      What could not be written because a candidate cannot be read, and why.

    Raises:
      RecyclingError: a file cannot be written.
    """
    gaps = []
    for one in chosen:
        try:
            record = {**load_record(one.taken.output), "choice": one.record}
            if _is_kept(one.item.output, record):
                tidy(one.item.output)
                continue
            read = load_prompt(one.taken.output)
        except RecyclingError as error:
            gaps.append(f"{one.item.output}: {error}")
            continue
        Prompt(read.array, read.site, record).save(one.item.output)
    return gaps


def _read(path: str) -> Scores | str:
    try:
        return scores_file.read(path)
    except RecyclingError as error:
        return f"{error}"


def _disagreements(choice: Choice, scores: Mapping[str, Scores]) -> list[str]:
    """Says why scores cannot be compared."""
    (first, expected), *others = scores.items()
    for path, found in others:
        same = (found.digest, found.sizes) == (expected.digest, expected.sizes)
        if not same:
            return [
                f"{path}: has scores on other inputs than {first}. All evaluations of "
                "a sweep need the same task, vocabulary and TASK_FEATURE_LENGTHS. "
                "Delete the file that is wrong and run evaluate_prompts again"
            ]
    if not choice.teacher and not expected.has_same_choices:
        return [
            f"{first}: the inputs do not all have the same choices, so {choice.name!r} "
            "needs a teacher"
        ]
    return []


def _chosen(
    sweep: Configuration,
    choice: Choice,
    cell: Cell,
    candidates: Mapping[str, Item],
    paths: Mapping[str, str],
    teacher: str | None,
    scores: Mapping[str, Scores],
) -> Chosen:
    q = None if teacher is None else criteria.probabilities(scores[teacher].rows)
    values = {
        name: choosing.worth(scores[path].rows, q, scores[path].has_same_choices)
        for name, path in paths.items()
    }
    criterion = choosing.INFORMATION if q is None else choosing.AGREEMENT
    best = max(values, key=lambda name: values[name][criterion])
    outcome = choosing.Choice(best, criterion, values, {})
    item = dataclasses.replace(
        candidates[best],
        method=choice.name,
        output=chosen_output(sweep, choice.name, cell),
    )
    drawn = scores[paths[best]]
    record = choosing.outcome_record(
        outcome,
        {**drawn.origin, "sha256": drawn.digest},
        None if teacher is None else _teacher(sweep, candidates[best]),
        {
            name: "combination_skips leaves it out for this pair of models"
            for name in choice.candidates
            if name not in candidates
        },
    )
    return Chosen(choice, cell, candidates, outcome, item, record)


def _teacher(sweep: Configuration, item: Item) -> dict[str, Any]:
    source = sweep.pretrained[item.source]
    return {"source": source, "prompt": {"path": item.prompt_from}}


def _is_kept(path: str, record: Mapping[str, Any]) -> bool:
    try:
        return load_record(path) == record
    except RecyclingError:
        return False
