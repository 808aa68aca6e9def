"""The formulas that judge a prompt's answers without labels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from prompt_tuning_recycling.choosing import criteria

NAN, INFINITY = math.nan, math.inf


def scores_of(table):
    """Log-likelihoods of likelihoods."""
    return [np.log(np.array(row, np.float64)) for row in table]


def tables():
    """Scores of several inputs with equally many choices."""
    shapes = st.tuples(st.integers(1, 8), st.integers(2, 5))
    return shapes.flatmap(
        lambda shape: hnp.arrays(np.float64, shape, elements=st.floats(-30, 0))
    )


# By hand


def test_scores_are_split_by_input():
    parts = criteria.split([-1, -2, -3, -4, -5], [2, 1, 2])
    assert [part.tolist() for part in parts] == [[-1, -2], [-3], [-4, -5]]


def test_probabilities_are_likelihoods_divided_by_their_sum():
    found = criteria.probabilities(scores_of([[0.3, 0.1], [0.2, 0.2, 0.4]]))
    np.testing.assert_allclose(found[0], [0.75, 0.25])
    np.testing.assert_allclose(found[1], [0.25, 0.25, 0.5])


def test_agreement():
    scores = scores_of([[0.3, 0.1], [0.1, 0.1]])
    teacher = [np.array([0.8, 0.2]), np.array([0.0, 1.0])]
    # 0.75 · 0.8 + 0.25 · 0.2 = 0.65, and 0.5.
    assert criteria.agreement(scores, teacher) == pytest.approx((0.65 + 0.5) / 2)


def test_agreement_with_choices_that_differ_in_number():
    scores = scores_of([[0.1, 0.1], [0.2, 0.1, 0.1]])
    teacher = [np.array([1.0, 0.0]), np.array([1.0, 0.0, 0.0])]
    assert criteria.agreement(scores, teacher) == pytest.approx(0.5)


def test_information():
    # Certain and different answers share log 2 nats with the inputs; three quarters of
    # the likelihood is on the choices.
    scores = scores_of([[1 - 1e-12, 1e-12], [0.5e-12, 0.5]])
    assert criteria.information(scores) == pytest.approx(0.75 * math.log(2))


def test_information_of_uncertain_answers():
    # p = (.75, .25) and (.25, .75): H(.5, .5) − H(.75, .25), times a mass of .4.
    scores = scores_of([[0.3, 0.1], [0.1, 0.3]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert criteria.information(scores) == pytest.approx(0.4 * (math.log(2) - entropy))


def test_likelihood_is_per_token():
    scores = [np.array([math.log(0.25)]), np.array([math.log(0.5)])]
    assert criteria.likelihood(scores, [2, 1]) == pytest.approx(0.5)


# A collapsed prompt


CERTAIN, COLLAPSED = [[0.7, 0.2], [0.2, 0.7]], [[0.999, 0.001]] * 2
TEACHER = [np.array([0.9, 0.1]), np.array([0.1, 0.9])]


def test_a_collapsed_prompt_is_more_confident_than_a_good_one():
    """So confidence is no criterion."""
    confidence = [
        np.mean([p.max() for p in criteria.probabilities(scores_of(table))])
        for table in (CERTAIN, COLLAPSED)
    ]
    assert confidence[1] > confidence[0]


def test_a_collapsed_prompt_agrees_less():
    good, collapsed = (
        criteria.agreement(scores_of(table), TEACHER) for table in (CERTAIN, COLLAPSED)
    )
    assert collapsed == pytest.approx(0.5)
    assert good > collapsed


def test_a_collapsed_prompt_carries_no_information():
    good, collapsed = (
        criteria.information(scores_of(table)) for table in (CERTAIN, COLLAPSED)
    )
    assert collapsed == pytest.approx(0, abs=1e-12)
    assert good > 0.1


def test_a_prompt_that_answers_something_else_carries_little_information():
    """Its answers differ with the inputs, but none of them is a choice."""
    elsewhere = [[1e-9, 1e-12], [1e-12, 1e-9]]
    assert criteria.information(scores_of(elsewhere)) < 1e-8


# Scores that are not finite


@pytest.mark.parametrize("row", [[NAN, NAN], [NAN, -0.1], [-INFINITY, -INFINITY]])
def test_an_input_that_is_not_answered_adds_nothing(row):
    answered = scores_of([[0.75, 0.25]])
    scores = [*answered, np.array(row)]
    teacher = [np.array([1.0, 0.0])] * 2
    assert criteria.agreement(scores, teacher) == pytest.approx(0.75 / 2)
    np.testing.assert_allclose(criteria.probabilities(scores)[1], [0.5, 0.5])
    assert criteria.likelihood([row[:1] for row in scores], [1, 1]) == pytest.approx(
        0.75 / 2
    )


def test_a_prompt_without_any_finite_score_is_worth_nothing():
    scores = [np.array([NAN, NAN])] * 3
    assert criteria.agreement(scores, [np.array([0.5, 0.5])] * 3) == 0
    assert criteria.information(scores) == 0
    assert criteria.likelihood(scores, [1] * 6) == 0


# Laws


@given(tables(), st.data())
def test_agreement_is_a_share(table, data):
    teacher = log_softmax(
        data.draw(hnp.arrays(np.float64, table.shape, elements=st.floats(-30, 0))),
        axis=1,
    )
    found = criteria.agreement(list(table), list(np.exp(teacher)))
    assert 0 <= found <= 1 + 1e-9


@given(tables())
def test_the_teachers_favorite_for_certain_agrees_most(table):
    q = criteria.probabilities(list(table))
    favorite = [np.where(row == row.max(), 0.0, -800.0) for row in q]
    assert criteria.agreement(list(table), q) <= criteria.agreement(favorite, q) + 1e-9


@given(tables())
def test_information_is_between_zero_and_what_the_choices_can_tell(table):
    likelihoods = log_softmax(table, axis=1)
    found = criteria.information(list(likelihoods))
    assert -1e-9 <= found <= math.log(min(table.shape)) + 1e-9


@given(hnp.arrays(np.float64, 3, elements=st.floats(-30, 0)), st.integers(1, 6))
def test_the_same_answer_to_every_input_carries_no_information(row, count):
    assert criteria.information([row] * count) == pytest.approx(0, abs=1e-9)


@given(tables(), st.randoms())
def test_the_order_of_inputs_and_of_choices_does_not_matter(table, random):
    rows, columns = list(range(len(table))), list(range(table.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    other = table[rows][:, columns]
    assert criteria.information(list(other)) == pytest.approx(
        criteria.information(list(table)), abs=1e-9
    )
    q = np.stack(criteria.probabilities(list(-table)))
    assert criteria.agreement(list(other), list(q[rows][:, columns])) == pytest.approx(
        criteria.agreement(list(table), list(q))
    )


@given(tables(), st.floats(-10, 10))
def test_agreement_does_not_depend_on_the_likelihood_of_all_choices(table, shift):
    q = criteria.probabilities(list(-table))
    assert criteria.agreement(list(table + shift), q) == pytest.approx(
        criteria.agreement(list(table), q)
    )
