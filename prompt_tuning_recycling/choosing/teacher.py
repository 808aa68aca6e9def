"""The teacher: the source model with its own prompt, which shows what to answer.

A teacher's answers can be kept in a file, for a source model that does not run in the
same job:

    {"format": "prompt_tuning_recycling/teacher/1",
     "unlabeled": {...},            where the inputs come from
     "unlabeled_sha256": "...",     of their tokens and their choices' tokens
     "probabilities": [[0.9, 0.1], ...]}    q(l|x), one row for each input

A task without choices has `answers`, token ids, instead of `probabilities`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic
from etils import epath

from prompt_tuning_recycling.choosing import criteria
from prompt_tuning_recycling.choosing.scored import ScoredModel
from prompt_tuning_recycling.choosing.unlabeled import Unlabeled
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import write_atomically
from prompt_tuning_recycling.files.json_files import read_json

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from prompt_tuning_recycling.choosing.scored import Prompts

_Number = TypeVar("_Number", int, float)

_FORMAT = "prompt_tuning_recycling/teacher/1"


class _File(pydantic.BaseModel):
    """What a file of a teacher's answers holds."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    format: Literal["prompt_tuning_recycling/teacher/1"]
    unlabeled: dict[str, Any]
    unlabeled_sha256: str
    teacher: dict[str, Any]
    probabilities: (
        list[list[Annotated[float, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]]]
        | None
    ) = None
    answers: list[list[Annotated[int, pydantic.Field(ge=0, lt=2**31)]]] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A teacher's answers to unlabeled inputs. One of the first two is set.

    Attributes:
      probabilities: q(l|x), the probability of each choice of each input.
      answers: for a task without choices, the token ids of each answer.
      origin: where they come from, JSON-compatible.
    """

    probabilities: Sequence[Float[np.ndarray, " choices"]] | None
    answers: Sequence[Int[np.ndarray, " tokens"]] | None
    origin: Mapping[str, Any]


def teach(
    model: ScoredModel,
    prompts: Prompts,
    unlabeled: Unlabeled,
    answer_length: int,
    origin: Mapping[str, Any],
) -> Teacher:
    """Asks a model for its answers.

    Args:
      model: the source model.
      prompts: name -> its own prompt, float32 [length, width].
      unlabeled: the inputs.
      answer_length: how many tokens an answer has at most, if the task has no choices.
      origin: see `Teacher`.
    """
    if not unlabeled.has_choices:
        answers = model.answer(prompts, unlabeled, answer_length)
        return Teacher(None, answers, origin)
    scores = criteria.split(model.score(prompts, unlabeled), unlabeled.sizes)
    return Teacher(criteria.probabilities(scores), None, origin)


def mean(teachers: Sequence[Teacher]) -> Teacher:
    """Returns the teacher whose probabilities are the mean of several teachers'.

    Raises:
      RecyclingError: the task has no choices, so that answers would have to be
        averaged.
    """
    if len(teachers) == 1:
        return teachers[0]
    tables = [one.probabilities for one in teachers if one.probabilities is not None]
    if len(tables) < len(teachers):
        raise RecyclingError(
            "several source models cannot teach a task without choices, because their "
            "answers have no mean. Give one source, or set USE_TEACHER = False."
        )
    averaged = [np.mean(rows, axis=0) for rows in zip(*tables, strict=True)]
    return Teacher(averaged, None, {"mean_of": [one.origin for one in teachers]})


def save(teacher: Teacher, unlabeled: Unlabeled, path: epath.PathLike) -> None:
    """Writes a teacher's answers to a JSON file.

    Raises:
      RecyclingError: the file cannot be written.
    """
    record: dict[str, Any] = {
        "format": _FORMAT,
        "unlabeled": unlabeled.origin,
        "unlabeled_sha256": unlabeled.digest,
        "teacher": teacher.origin,
    }
    for name in ("probabilities", "answers"):
        rows = getattr(teacher, name)
        if rows is not None:
            record[name] = [np.asarray(row).tolist() for row in rows]
    write_atomically(path, (json.dumps(record, ensure_ascii=False) + "\n").encode())


def load(path: epath.PathLike, unlabeled: Unlabeled) -> Teacher:
    """Reads the answers that `save` wrote.

    Args:
      path: the file.
      unlabeled: the inputs, without a teacher's answers.

    Raises:
      RecyclingError: the file cannot be read, is damaged, or belongs to other inputs.
    """
    name = os.fspath(path)
    record = read_json(path, "the teacher's scores")
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise RecyclingError(
            f"{name} is not a file of a teacher's scores: expected the format "
            f"{_FORMAT!r}. The program `teach` writes one."
        )
    try:
        found = _File.model_validate(record)
        if found.unlabeled_sha256 != unlabeled.digest:
            raise RecyclingError(
                f"{name} belongs to other inputs: expected scores of "
                f"{_text(unlabeled.origin)}, found {_text(found.unlabeled)}. The "
                "vocabulary, TASK_FEATURE_LENGTHS and the UNLABELED macros must be the "
                "same for both models."
            )
        return _checked(found, unlabeled, {"path": name, **found.teacher})
    except ValueError as error:
        raise RecyclingError(
            f"{name} is damaged: {_reason(error)}. Write it again with `teach`."
        ) from error


def _checked(found: _File, unlabeled: Unlabeled, origin: Mapping[str, Any]) -> Teacher:
    if unlabeled.has_choices:
        table = _one_each("probabilities", found.probabilities, unlabeled)
        for row, size in zip(table, unlabeled.sizes, strict=True):
            if len(row) != size or not math.isclose(sum(row), 1, abs_tol=1e-6):
                raise ValueError(
                    f"expected {size} probabilities that add up to 1, found {row}"
                )
        return Teacher([np.array(row, np.float64) for row in table], None, origin)
    answers = _one_each("answers", found.answers, unlabeled)
    if not all(answers):
        raise ValueError("expected answers of at least one token, found an empty one")
    return Teacher(None, [np.array(row, np.int32) for row in answers], origin)


def _one_each(
    what: str, rows: list[list[_Number]] | None, unlabeled: Unlabeled
) -> list[list[_Number]]:
    count = len(unlabeled.inputs)
    if rows is None or len(rows) != count:
        found = "none" if rows is None else len(rows)
        raise ValueError(f"expected {what} of {count} inputs, found {found}")
    return rows


def _reason(error: ValueError) -> str:
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}, found {first['input']!r}"


def _text(origin: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in origin.items())
