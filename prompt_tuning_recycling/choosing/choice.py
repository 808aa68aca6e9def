"""Scores candidates on a model and picks the best one."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.choosing import criteria
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.prompts import Prompt

# For types only, since sweeps choose from files, without seqio.
if TYPE_CHECKING:
    from prompt_tuning_recycling.choosing.criteria import Scores
    from prompt_tuning_recycling.choosing.refinement import Refined
    from prompt_tuning_recycling.choosing.scored import ScoredModel
    from prompt_tuning_recycling.choosing.teacher import Teacher
    from prompt_tuning_recycling.choosing.unlabeled import Unlabeled

logger = logging.getLogger(__name__)

AGREEMENT = "agreement"
"""Decides if a teacher ranks the task's choices; see `criteria`."""
INFORMATION = "information"
"""Decides if there is no teacher."""
LIKELIHOOD = "likelihood"
"""Decides if the task has no choices, so that the teacher's answers are the targets."""


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """The outcome of a choice.

    Attributes:
      chosen: the name of the best candidate.
      criterion: what decided: `agreement`, `information` or `likelihood`.
      values: candidate -> criterion -> value; higher is better. The criterion that
        decided is always among them.
      seconds: candidate -> how long its scoring took, if it was scored now. The first
        one's includes the compilation.
    """

    chosen: str
    criterion: str
    values: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]


def choose(
    candidates: Mapping[str, Prompt],
    parameter: str,
    model: ScoredModel,
    unlabeled: Unlabeled,
    teacher: Teacher | None,
) -> Choice:
    """Chooses the candidate that answers best; of equally good ones, the first.

    Args:
      candidates: name -> prompt [length, width].
      parameter: which of the model's parameters is the prompt, such as
        `encoder/prompt/prompt/prompt`.
      model: the model that the prompts are for.
      unlabeled: the inputs; the choices of a task without any are the teacher's
        answers.
      teacher: None to choose without a teacher.

    Raises:
      RecyclingError: as `check_without_teacher`, if there is none.
    """
    if teacher is None:
        check_without_teacher(unlabeled)
    criterion = decided_by(teacher)
    values, seconds = {}, {}
    for name, prompt in candidates.items():
        started = time.monotonic()
        array = np.asarray(prompt.array, np.float32)
        scores = model.score({parameter: array}, unlabeled)
        values[name] = judged(scores, unlabeled, teacher)
        seconds[name] = round(time.monotonic() - started, 3)
        logger.info("%s: %s %.4f", name, criterion, values[name][criterion])
    best = max(values, key=lambda name: values[name][criterion])
    return Choice(best, criterion, values, seconds)


def check_without_teacher(unlabeled: Unlabeled) -> None:
    """Raises RecyclingError unless the inputs suffice for a choice without a teacher:
    there are choices to rank, and they are the same for all inputs.
    """
    if not unlabeled.has_choices:
        raise RecyclingError(
            "the task has no choices to rank, so a choice needs a teacher, whose "
            "answers are then the targets. Set USE_TEACHER = True, or give "
            "TEACHER_SCORES."
        )
    if not unlabeled.has_same_choices:
        raise RecyclingError(
            "the inputs do not all have the same choices, so a choice needs a teacher. "
            "Set USE_TEACHER = True, or give TEACHER_SCORES."
        )


def decided_by(teacher: Teacher | None) -> str:
    """Returns the name of the criterion that decides."""
    if teacher is None:
        return INFORMATION
    return AGREEMENT if teacher.probabilities is not None else LIKELIHOOD


def judged(
    scores: Sequence[float], unlabeled: Unlabeled, teacher: Teacher | None
) -> dict[str, float]:
    """Returns every criterion that can be computed from a candidate's scores.

    Args:
      scores: the log-likelihood of each choice of each input, in nats.
      unlabeled: the inputs and their choices.
      teacher: the teacher, if there is one.
    """
    by_input = criteria.split(scores, unlabeled.sizes)
    if teacher is not None and teacher.probabilities is None:
        return {LIKELIHOOD: criteria.likelihood(by_input, unlabeled.tokens())}
    probabilities = None if teacher is None else teacher.probabilities
    return worth(by_input, probabilities, unlabeled.has_same_choices)


def worth(
    scores: Scores, teacher: Scores | None, has_same_choices: bool
) -> dict[str, float]:
    """Returns every criterion for inputs with choices.

    Args:
      scores: a candidate's log-likelihoods of each input's choices.
      teacher: the teacher's probabilities of them; None if there is no teacher.
      has_same_choices: whether the choices are the same texts for all inputs.
    """
    found = {}
    if teacher is not None:
        found[AGREEMENT] = criteria.agreement(scores, teacher)
    if has_same_choices:
        found[INFORMATION] = criteria.information(scores)
    return found


def record_of(
    choice: Choice,
    unlabeled: Unlabeled,
    teacher: Teacher | None,
    left_out: Mapping[str, str],
    refined: Refined | None = None,
    refined_from_untuned: Refined | None = None,
) -> dict[str, Any]:
    """Returns the part of the chosen prompt's record that says how it was chosen.

    Args:
      choice: the outcome.
      unlabeled: the inputs, without a teacher's answers.
      teacher: the teacher, if there was one.
      left_out: candidate -> why it could not be made.
      refined: how the chosen prompt was refined, if it was.
      refined_from_untuned: the same for an untuned prompt.
    """
    record = outcome_record(
        choice,
        {**unlabeled.origin, "sha256": unlabeled.digest},
        None if teacher is None else teacher.origin,
        left_out,
    )
    if refined is not None and refined_from_untuned is not None:
        record["refined"] = {
            "steps": refined.steps,
            "losses": list(refined.losses),
            "losses_from_an_untuned_prompt": list(refined_from_untuned.losses),
        }
    return record


def outcome_record(
    choice: Choice,
    unlabeled: Mapping[str, Any],
    teacher: Mapping[str, Any] | None,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Returns what `record_of` does, for a choice that was not refined.

    Args:
      choice: the outcome.
      unlabeled: where the inputs come from, and their digest as `sha256`.
      teacher: where the teacher's answers come from, if there was a teacher.
      left_out: candidate -> why it could not be made.
    """
    candidates = {name: dict(values) for name, values in choice.values.items()}
    for name, seconds in choice.seconds.items():
        candidates[name]["seconds"] = seconds
    return {
        "criterion": choice.criterion,
        "chosen": choice.chosen,
        "candidates": candidates,
        "left_out": dict(left_out),
        "unlabeled": dict(unlabeled),
        "teacher": None if teacher is None else dict(teacher),
    }
