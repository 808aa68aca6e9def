"""A teacher's answers, and the file that carries them to another job."""

import json

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.choosing import teacher as teachers
from prompt_tuning_recycling.choosing.teacher import Teacher

from .conftest import PARAMETER, SmallModel, inputs_of

PROBABILITIES = [np.array([0.9, 0.1]), np.array([0.25, 0.75])]
ANSWERS = [np.array([7, 1]), np.array([8, 9, 1])]


@pytest.fixture
def ranked():
    """Two inputs with two choices each."""
    return inputs_of([[[5, 1], [6, 1]]] * 2)


@pytest.fixture
def open_ended():
    """Two inputs without choices."""
    return inputs_of([[], []])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teacher.json"


def taught(probabilities=None, answers=None):
    return Teacher(probabilities, answers, {"source": "/models/source"})


# Asking a model


def test_a_teacher_gives_each_choice_its_probability(six_inputs, small_model, rng):
    prompts = {PARAMETER: rng.normal(size=(2, 4)).astype(np.float32)}
    found = teachers.teach(small_model, prompts, six_inputs, 8, {"source": "s"})
    likelihoods = np.exp(small_model.score(prompts, six_inputs)).reshape(6, 2)
    # The small model's choices have all of the likelihood.
    np.testing.assert_allclose(np.stack(found.probabilities), likelihoods)
    assert found.answers is None
    assert found.origin == {"source": "s"}


def test_without_choices_it_gives_its_own_answers(rng):
    model = SmallModel([3, 3])
    prompts = {PARAMETER: rng.normal(size=(2, 4)).astype(np.float32)}
    found = teachers.teach(model, prompts, inputs_of([[], []]), 8, {})
    assert found.probabilities is None
    assert [answer.tolist() for answer in found.answers] == [
        answer.tolist() for answer in model.answer(prompts, None, 8)
    ]


# Several teachers


def test_several_teachers_are_averaged():
    one, other = taught(PROBABILITIES), taught(PROBABILITIES[::-1])
    found = teachers.mean([one, other])
    np.testing.assert_allclose(np.stack(found.probabilities), [[0.575, 0.425]] * 2)
    assert found.origin == {"mean_of": [one.origin, other.origin]}


def test_one_teacher_is_its_own_mean():
    one = taught(answers=ANSWERS)
    assert teachers.mean([one]) is one


def test_answers_have_no_mean():
    with pytest.raises(RecyclingError, match="answers have no mean. Give one source"):
        teachers.mean([taught(answers=ANSWERS)] * 2)


# The file


def test_probabilities_are_read_as_they_were_written(ranked, path):
    third = [np.array([1 / 3, 2 / 3]), np.array([1e-300, 1.0])]
    teachers.save(taught(third), ranked, path)
    found = teachers.load(path, ranked)
    np.testing.assert_array_equal(np.stack(found.probabilities), np.stack(third))
    assert found.answers is None
    assert found.origin == {"path": str(path), "source": "/models/source"}


def test_answers_are_read_as_they_were_written(open_ended, path):
    teachers.save(taught(answers=ANSWERS), open_ended, path)
    found = teachers.load(path, open_ended)
    assert [row.tolist() for row in found.answers] == [[7, 1], [8, 9, 1]]
    assert found.probabilities is None


def test_the_file_says_what_it_belongs_to(ranked, path):
    teachers.save(taught(PROBABILITIES), ranked, path)
    record = json.loads(path.read_text())
    assert record["format"] == "prompt_tuning_recycling/teacher/1"
    assert record["unlabeled"] == {"task": "by_hand", "inputs": 2}
    assert record["unlabeled_sha256"] == ranked.digest
    assert record["probabilities"] == [[0.9, 0.1], [0.25, 0.75]]


def test_answers_to_other_inputs_are_refused(ranked, path):
    teachers.save(taught(PROBABILITIES), ranked, path)
    others = inputs_of([[[6, 1], [5, 1]]] * 2)
    with pytest.raises(RecyclingError) as error:
        teachers.load(path, others)
    message = str(error.value)
    assert f"{path} belongs to other inputs" in message
    assert "expected scores of task by_hand, inputs 2" in message
    assert "TASK_FEATURE_LENGTHS" in message


def test_a_missing_file_is_reported(ranked, tmp_path):
    with pytest.raises(RecyclingError, match="cannot read the teacher's scores .*none"):
        teachers.load(tmp_path / "none.json", ranked)


def test_a_file_that_is_not_json_is_reported(ranked, path):
    path.write_text('{"format": ')
    with pytest.raises(RecyclingError, match="is not JSON"):
        teachers.load(path, ranked)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "something/1"}', "3"])
def test_another_kind_of_file_is_reported(ranked, path, content):
    path.write_text(content)
    with pytest.raises(RecyclingError, match="is not a file of a teacher's scores"):
        teachers.load(path, ranked)


DAMAGED = {
    "no rows": ({"probabilities": None}, "expected probabilities of 2 inputs"),
    "a row is missing": ({"probabilities": [[0.9, 0.1]]}, "of 2 inputs, found 1"),
    "a row too many": ({"probabilities": [[0.9, 0.1]] * 3}, "of 2 inputs, found 3"),
    "a choice is missing": ({"probabilities": [[0.9, 0.1], [1.0]]}, "expected 2"),
    "the sum is not 1": ({"probabilities": [[0.9, 0.2]] * 2}, "add up to 1, found"),
    "all are 0": ({"probabilities": [[0.0, 0.0]] * 2}, "add up to 1, found"),
    "below 0": ({"probabilities": [[1.1, -0.1]] * 2}, "probabilities.0.0"),
    "not a number": ({"probabilities": [[float("nan"), 1]] * 2}, "probabilities.0.0"),
    "a text": ({"probabilities": [["0.9", 0.1]] * 2}, "probabilities.0.0"),
    "not rows": ({"probabilities": [0.9, 0.1]}, "probabilities.0"),
    "not a list": ({"probabilities": "many"}, "probabilities"),
    "no digest": ({"unlabeled_sha256": 3}, "unlabeled_sha256"),
    "no origin": ({"teacher": "the source"}, "teacher"),
    "no inputs": ({"unlabeled": []}, "unlabeled"),
    "an unknown entry": ({"scores": []}, "scores"),
}


@pytest.mark.parametrize(("changes", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_reported(ranked, path, changes, message):
    teachers.save(taught(PROBABILITIES), ranked, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(RecyclingError) as error:
        teachers.load(path, ranked)
    assert f"{path} is damaged: " in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[7, 1]], "expected answers of 2 inputs, found 1"),
        ([[7, 1], []], "found an empty one"),
        ([[7, 1], [1.5]], "answers.1.0"),
        ([[7, 1], [-3]], "answers.1.0"),
        (None, "expected answers of 2 inputs, found none"),
    ],
)
def test_damaged_answers_are_reported(open_ended, path, answers, message):
    teachers.save(taught(answers=ANSWERS), open_ended, path)
    changed = {**json.loads(path.read_text()), "answers": answers}
    path.write_text(json.dumps(changed))
    with pytest.raises(RecyclingError) as error:
        teachers.load(path, open_ended)
    assert f"{path} is damaged: " in str(error.value)
    assert message in str(error.value)
