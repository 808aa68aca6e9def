"""Refining a prompt on unlabeled inputs."""

import math

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.choosing import criteria
from prompt_tuning_recycling.choosing.refinement import Refinement, refine

from .conftest import PARAMETER, SmallModel, inputs_of


@pytest.fixture
def prompts(rng):
    return {PARAMETER: rng.normal(size=(2, 4)).astype(np.float32)}


@pytest.fixture
def teacher(small_model, six_inputs):
    """What the model answers with another, sharper prompt."""
    sharp = np.random.default_rng(5).normal(size=(2, 4)) * 4
    scores = small_model.score({PARAMETER: sharp}, six_inputs)
    return criteria.probabilities(criteria.split(scores, six_inputs.sizes))


def loss_of(model, prompts, inputs, teacher):
    """−Σ q log p, as the documentation has it."""
    p = criteria.probabilities(
        criteria.split(model.score(prompts, inputs), inputs.sizes)
    )
    return -np.mean([q @ np.log(row) for q, row in zip(teacher, p, strict=True)])


# What it does


def test_the_loss_falls(small_model, six_inputs, prompts, teacher):
    refined = refine(small_model, prompts, six_inputs, teacher, Refinement(10))
    assert min(refined.losses) < refined.losses[0]
    after = loss_of(small_model, refined.prompts, six_inputs, teacher)
    assert after == pytest.approx(min(refined.losses), rel=1e-5)


def test_the_first_loss_is_that_of_the_prompt_it_starts_from(
    small_model, six_inputs, prompts, teacher
):
    refined = refine(small_model, prompts, six_inputs, teacher, Refinement(1))
    before = loss_of(small_model, prompts, six_inputs, teacher)
    assert refined.losses[0] == pytest.approx(before)


def test_it_agrees_more_with_the_teacher(small_model, six_inputs, prompts, teacher):
    refined = refine(small_model, prompts, six_inputs, teacher, Refinement(10))

    def agreement(prompts):
        scores = small_model.score(prompts, six_inputs)
        return criteria.agreement(criteria.split(scores, six_inputs.sizes), teacher)

    assert agreement(refined.prompts) > agreement(prompts)


def test_no_steps_change_nothing(small_model, six_inputs, prompts, teacher):
    refined = refine(small_model, prompts, six_inputs, teacher, Refinement(0))
    np.testing.assert_array_equal(refined.prompts[PARAMETER], prompts[PARAMETER])
    assert refined.steps == 0
    assert len(refined.losses) == 1


def test_the_prompt_it_starts_from_is_left_as_it_is(
    small_model, six_inputs, prompts, teacher
):
    before = prompts[PARAMETER].copy()
    refine(small_model, prompts, six_inputs, teacher, Refinement(3))
    np.testing.assert_array_equal(prompts[PARAMETER], before)


def test_a_refined_prompt_is_float32(small_model, six_inputs, prompts, teacher):
    refined = refine(small_model, prompts, six_inputs, teacher, Refinement(3))
    assert refined.prompts[PARAMETER].dtype == np.float32


# Stopping early


def test_it_stops_when_the_loss_no_longer_falls(
    small_model, six_inputs, prompts, teacher
):
    far = Refinement(50, learning_rate=3.0)
    refined = refine(small_model, prompts, six_inputs, teacher, far)
    assert len(refined.losses) < 51
    # Two steps without a lower loss.
    assert len(refined.losses) - 1 - refined.steps == 2


def test_the_prompt_with_the_lowest_loss_is_kept(
    small_model, six_inputs, prompts, teacher
):
    far = Refinement(50, learning_rate=3.0)
    refined = refine(small_model, prompts, six_inputs, teacher, far)
    assert refined.losses[refined.steps] == min(refined.losses)
    kept = loss_of(small_model, refined.prompts, six_inputs, teacher)
    assert kept == pytest.approx(min(refined.losses), rel=1e-5)


def test_a_prompt_that_nothing_improves_is_kept(small_model, six_inputs, prompts):
    p = criteria.probabilities(
        criteria.split(small_model.score(prompts, six_inputs), six_inputs.sizes)
    )
    refined = refine(small_model, prompts, six_inputs, p, Refinement(10, 1.0))
    assert refined.steps == 0
    np.testing.assert_array_equal(refined.prompts[PARAMETER], prompts[PARAMETER])


class Overflowing(SmallModel):
    """Its scores are not numbers after the first `lasts` evaluations."""

    lasts = 0

    def score(self, prompts, inputs):
        scores = super().score(prompts, inputs)
        return scores if self.loaded <= self.lasts else [math.nan] * len(scores)


@pytest.mark.parametrize("lasts", [0, 1, 3])
def test_it_ends_with_the_last_finite_loss(six_inputs, prompts, teacher, lasts):
    model = Overflowing([2] * 6)
    model.lasts = lasts
    refined = refine(model, prompts, six_inputs, teacher, Refinement(10))
    assert len(refined.losses) == lasts
    assert np.isfinite(refined.losses).all()
    assert np.isfinite(refined.prompts[PARAMETER]).all()
    if lasts < 2:
        assert refined.steps == 0
        np.testing.assert_array_equal(refined.prompts[PARAMETER], prompts[PARAMETER])


# Without choices


def test_without_choices_the_teachers_answers_become_likelier(prompts):
    class OneOfMany(SmallModel):
        """The likelihood of one answer, which is a sigmoid of the mean prompt."""

        def score(self, prompts, inputs):
            mean = np.asarray(prompts[PARAMETER], np.float64).mean(axis=0)
            return [-float(np.log1p(np.exp(-(f @ mean).item()))) for f in self.features]

        def gradient(self, prompts, inputs, weights):
            mean = np.asarray(prompts[PARAMETER], np.float64).mean(axis=0)
            total = sum(
                weight * f[0] / (1 + np.exp((f @ mean).item()))
                for weight, f in zip(weights, self.features, strict=True)
            )
            return {PARAMETER: np.tile(total / 2, (2, 1)).astype(np.float32)}

    model = OneOfMany([1] * 4)
    inputs = inputs_of([[[7, 1]], [[8, 1]], [[9, 9, 1]], [[9, 1]]])
    refined = refine(model, prompts, inputs, None, Refinement(10))
    assert refined.losses[refined.steps] < refined.losses[0]
    per_token = np.array(model.score(prompts, inputs)) / [2, 2, 3, 2]
    assert refined.losses[0] == pytest.approx(-per_token.mean())


# The gradient


def test_the_small_models_gradient(small_model, six_inputs, prompts, rng):
    """These tests depend on it."""
    weights = rng.normal(size=12)
    point = prompts[PARAMETER].astype(np.float64)

    def total(flat):
        return weights @ small_model.score({PARAMETER: flat.reshape(2, 4)}, six_inputs)

    expected = approx_fprime(point.ravel(), total, 1e-6).reshape(2, 4)
    found = small_model.gradient({PARAMETER: point}, six_inputs, weights)
    np.testing.assert_allclose(found[PARAMETER], expected, rtol=1e-3, atol=1e-5)


# Settings


@pytest.mark.parametrize(
    ("steps", "learning_rate"), [(-1, 0.1), (3, 0.0), (3, -1.0), (3, math.nan)]
)
def test_settings_that_cannot_be_are_refused(steps, learning_rate):
    with pytest.raises(RecyclingError, match="REFINE_STEPS of at least 0 and REFINE_"):
        Refinement(steps, learning_rate)
