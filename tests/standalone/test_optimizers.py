"""Adafactor as prompt tuning uses it, against a plain computation of it."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prompt_tuning_recycling.standalone import optimizers

NAME = "encoder/prompt/prompt/prompt"
SHAPE = (4, 300)


def plain_adafactor(prompt, gradients, first, learning_rate=0.3):
    """Shazeer and Stern 2018 with whole second moments, float64; decay 0.8, clipping
    at 1, weight decay 1e-5 that the learning rate has no part in.
    """
    prompt, moment = prompt.astype(np.float64), 0.0
    for step, gradient in enumerate(gradients, first + 1):
        memory = 1 - step**-0.8
        moment = memory * moment + (1 - memory) * (gradient**2 + 1e-30)
        update = gradient / np.sqrt(moment)
        update /= max(1.0, np.sqrt(np.mean(update**2)))
        prompt = (1 - 1e-5) * prompt - learning_rate * update
    return prompt


@pytest.mark.parametrize("first", [0, 1600, 1_100_000])
def test_it_is_that_of_the_plain_computation(rng, first):
    prompt = rng.normal(size=SHAPE).astype(np.float32)
    gradients = rng.normal(size=(5, *SHAPE)).astype(np.float32) * 10.0 ** rng.integers(
        -6, 3, size=(5, 1, 1)
    )
    optimizer = optimizers.adafactor()
    parameters = {NAME: jnp.asarray(prompt)}
    state = optimizers.start(optimizer, parameters, first)
    for gradient in gradients:
        updates, state = optimizer.update({NAME: gradient}, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    expected = plain_adafactor(prompt, gradients, first)
    np.testing.assert_allclose(parameters[NAME], expected, atol=2e-5)
    assert abs(expected - prompt).mean() > 0.1


def test_the_second_moments_of_a_large_prompt_are_kept_whole():
    shape = (200, 768)
    optimizer = optimizers.adafactor()
    state = optimizers.start(optimizer, {NAME: jnp.zeros(shape)}, 0)
    (factored,) = [part for part in state if isinstance(part, optax.FactoredState)]
    assert factored.v[NAME].shape == shape
    assert factored.v_row[NAME].size == 1


def test_other_optimizers_count_from_their_own_start():
    parameters = {NAME: jnp.zeros(SHAPE)}
    schedule = optax.linear_schedule(1.0, 0.0, 10)
    state = optimizers.start(optax.adam(schedule), parameters, 1600)
    counts = [part.count for part in state]
    assert counts == [0, 0]


def test_adafactors_memory_goes_on_inside_a_chain():
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optimizers.adafactor())
    state = optimizers.start(optimizer, {NAME: jnp.zeros(SHAPE)}, 1600)
    assert state[1][0].count == 1600
