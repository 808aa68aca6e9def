"""Scoring candidates on a model, and picking one."""

import dataclasses
import json

import numpy as np
import pytest

from prompt_tuning_recycling import Prompt, RecyclingError
from prompt_tuning_recycling.choosing import choice, criteria
from prompt_tuning_recycling.choosing.choice import Choice
from prompt_tuning_recycling.choosing.refinement import Refined
from prompt_tuning_recycling.choosing.teacher import Teacher

from .conftest import PARAMETER, inputs_of

# Likelihoods of two choices for each of four inputs. The right ones alternate.
GOOD = [[0.8, 0.1], [0.1, 0.8], [0.7, 0.2], [0.2, 0.7]]
WEAK = [[0.5, 0.3], [0.3, 0.5], [0.5, 0.3], [0.3, 0.5]]
COLLAPSED = [[0.9999, 0.0001]] * 4
ELSEWHERE = [[1e-4, 1e-6], [1e-6, 1e-4]] * 2
OPPOSITE = [row[::-1] for row in GOOD]


class Dictated:
    """A model whose prompt is the table of its scores, [inputs, choices]."""

    def score(self, prompts, unlabeled):
        assert list(prompts) == [PARAMETER]
        assert prompts[PARAMETER].dtype == np.float32
        return prompts[PARAMETER].ravel().tolist()


class Overflowing(Dictated):
    """One whose scores of a prompt above zero are not numbers."""

    def score(self, prompts, unlabeled):
        return [s if s <= 0 else float("nan") for s in super().score(prompts, None)]


def prompt(likelihoods):
    return Prompt(np.log(np.array(likelihoods)))


@pytest.fixture
def inputs():
    return inputs_of([[[5, 1], [6, 1]]] * 4)


TEACHER = Teacher(
    criteria.probabilities([np.log(row) for row in GOOD]), None, {"source": "s"}
)


def chosen(inputs, teacher, model=None, **candidates):
    prompts = {
        name: one if isinstance(one, Prompt) else prompt(one)
        for name, one in candidates.items()
    }
    return choice.choose(prompts, PARAMETER, model or Dictated(), inputs, teacher)


TEACHERS = pytest.mark.parametrize("teacher", [TEACHER, None], ids=["taught", "alone"])


# Which one


@TEACHERS
def test_the_best_answers_win(inputs, teacher):
    assert chosen(inputs, teacher, weak=WEAK, good=GOOD).chosen == "good"


@TEACHERS
def test_a_collapsed_prompt_loses_although_it_is_the_most_confident(inputs, teacher):
    found = chosen(inputs, teacher, collapsed=COLLAPSED, good=GOOD, weak=WEAK)
    assert found.chosen == "good"
    worth = {name: values[found.criterion] for name, values in found.values.items()}
    assert worth["collapsed"] < worth["weak"] < worth["good"]


@TEACHERS
def test_a_prompt_that_overflows_loses(inputs, teacher):
    broken = Prompt(np.ones((4, 2), np.float32))
    model = Overflowing()
    found = chosen(inputs, teacher, model, broken=broken, weak=WEAK)
    assert found.chosen == "weak"
    assert found.values["broken"][found.criterion] == 0


def test_without_a_teacher_a_prompt_must_answer_with_the_choices(inputs):
    assert chosen(inputs, None, elsewhere=ELSEWHERE, weak=WEAK).chosen == "weak"


def test_only_a_teacher_knows_which_answer_is_meant(inputs):
    found = chosen(inputs, TEACHER, opposite=OPPOSITE, weak=WEAK)
    assert found.chosen == "weak"
    alone = chosen(inputs, None, opposite=OPPOSITE, good=GOOD)
    assert alone.values["opposite"] == pytest.approx(alone.values["good"])


@TEACHERS
def test_of_equally_good_ones_it_is_the_first(inputs, teacher):
    assert chosen(inputs, teacher, one=GOOD, other=GOOD).chosen == "one"


# By what


def test_a_teacher_decides_by_agreement_and_information_is_reported(inputs):
    found = chosen(inputs, TEACHER, weak=WEAK)
    assert found.criterion == "agreement"
    assert list(found.values["weak"]) == ["agreement", "information"]
    scores = [np.log(row) for row in WEAK]
    assert found.values["weak"] == pytest.approx(
        {
            "agreement": criteria.agreement(scores, TEACHER.probabilities),
            "information": criteria.information(scores),
        },
        rel=1e-6,
    )


def test_without_a_teacher_information_decides(inputs):
    found = chosen(inputs, None, weak=WEAK)
    assert found.criterion == "information"
    assert list(found.values["weak"]) == ["information"]


def test_without_choices_the_likelihood_of_the_teachers_answers_decides():
    answers = [np.array([7, 1])] * 3 + [np.array([7, 8, 9, 1])]
    inputs = inputs_of([[]] * 4).with_answers(answers)
    teacher = Teacher(None, answers, {})
    likely, unlikely = np.full((4, 1), -0.2), np.full((4, 1), -4.0)
    found = chosen(inputs, teacher, unlikely=Prompt(unlikely), likely=Prompt(likely))
    assert found.chosen == "likely"
    assert found.criterion == "likelihood"
    per_token = (3 * np.exp(-0.2 / 2) + np.exp(-0.2 / 4)) / 4
    assert found.values["likely"] == pytest.approx({"likelihood": per_token})


RAGGED = [[[5, 1], [6, 1]]] * 3 + [[[5, 1], [6, 1], [7, 1]]]
OWN = [[[5, 1], [6, 1]]] * 3 + [[[5, 1], [7, 1]]]


@pytest.mark.parametrize("choices", [RAGGED, OWN], ids=["ragged", "of their own"])
def test_choices_that_differ_need_a_teacher(choices):
    with pytest.raises(RecyclingError, match="same choices, so a choice needs a teach"):
        chosen(inputs_of(choices), None, good=GOOD)


def test_with_a_teacher_choices_may_differ():
    table = [[0.9, 0.1]] * 3 + [[0.2, 0.3, 0.5]]
    values = np.log(np.concatenate(table))[None]
    teacher = Teacher([np.array(row) for row in table], None, {})
    found = chosen(inputs_of(RAGGED), teacher, good=Prompt(values))
    # Mutual information would have no meaning.
    assert list(found.values["good"]) == ["agreement"]
    assert found.values["good"]["agreement"] == pytest.approx((3 * 0.82 + 0.38) / 4)


def test_a_task_without_choices_needs_a_teacher():
    with pytest.raises(RecyclingError, match="no choices to rank.*USE_TEACHER = True"):
        chosen(inputs_of([[]] * 4), None, good=GOOD)


# The record


@pytest.fixture
def outcome():
    values = {
        "v2v-lin": {"agreement": 0.9, "information": 0.5},
        "v2v-nn": {"agreement": 0.8, "information": 0.6},
    }
    return Choice("v2v-lin", "agreement", values, {"v2v-lin": 1.5, "v2v-nn": 0.1})


def test_the_record_says_what_each_candidate_was_worth(outcome, inputs):
    record = choice.record_of(outcome, inputs, TEACHER, {"copy": "other widths"})
    assert record == {
        "criterion": "agreement",
        "chosen": "v2v-lin",
        "candidates": {
            "v2v-lin": {"agreement": 0.9, "information": 0.5, "seconds": 1.5},
            "v2v-nn": {"agreement": 0.8, "information": 0.6, "seconds": 0.1},
        },
        "left_out": {"copy": "other widths"},
        "unlabeled": {"task": "by_hand", "inputs": 4, "sha256": inputs.digest},
        "teacher": {"source": "s"},
    }
    assert json.loads(json.dumps(record)) == record


def test_the_record_says_if_there_was_no_teacher(outcome, inputs):
    alone = dataclasses.replace(outcome, criterion="information")
    assert choice.record_of(alone, inputs, None, {})["teacher"] is None


def test_the_record_compares_refining_with_an_untuned_prompt(outcome, inputs):
    refined = Refined({}, (0.5, 0.3, 0.4))
    untuned = Refined({}, (2.0, 1.0, 0.9))
    record = choice.record_of(outcome, inputs, TEACHER, {}, refined, untuned)
    assert record["refined"] == {
        "steps": 1,
        "losses": [0.5, 0.3, 0.4],
        "losses_from_an_untuned_prompt": [2.0, 1.0, 0.9],
    }
