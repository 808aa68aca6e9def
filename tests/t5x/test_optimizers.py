"""The optimizer for some parameters only, with T5X's own optimizers inside."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import core, traverse_util

from prompt_tuning_recycling.errors import RecyclingError

NAME = "encoder/prompt/prompt/prompt"


@pytest.fixture
def params():
    flat = {NAME: jnp.ones((4, 6)), "encoder/layers_0/kernel": jnp.ones((6, 6))}
    return core.freeze(traverse_util.unflatten_dict(flat, sep="/"))


def inner(kind):
    from t5x import adafactor, optimizers

    if kind == "adafactor":
        return adafactor.Adafactor(0.1, factored=False)
    return optimizers.adam(0.1)


@pytest.mark.parametrize("kind", ["adafactor", "adam"])
def test_only_what_matches_is_trained_and_has_state(params, kind):
    from prompt_tuning_recycling.t5x_host import optimizers

    optimizer = optimizers.TrainOnly(inner(kind)).create(params)
    after = optimizer.apply_gradient(
        jax.tree.map(jnp.ones_like, params), learning_rate=0.1
    )
    flat = traverse_util.flatten_dict(core.unfreeze(after.target), sep="/")
    assert not np.array_equal(flat[NAME], np.ones((4, 6)))
    np.testing.assert_array_equal(flat["encoder/layers_0/kernel"], np.ones((6, 6)))
    saved = traverse_util.flatten_dict(after.state_dict()["state"], sep="/")
    assert not any("layers_0" in name for name in saved)
    assert any(NAME in name for name in saved)


@pytest.mark.parametrize("kind", ["adafactor", "adam"])
def test_what_is_saved_is_restored(params, kind):
    from prompt_tuning_recycling.t5x_host import optimizers

    optimizer = optimizers.TrainOnly(inner(kind)).create(params)
    grads = jax.tree.map(jnp.ones_like, params)
    after = optimizer.apply_gradient(grads, learning_rate=0.1)
    restored = optimizer.restore_state(after.state_dict())
    again = [o.apply_gradient(grads, learning_rate=0.1) for o in (after, restored)]
    jax.tree.map(np.testing.assert_array_equal, *(o.state_dict() for o in again))


def test_nothing_to_train_is_an_error(params):
    from prompt_tuning_recycling.t5x_host import optimizers

    with pytest.raises(RecyclingError, match="nothing to train"):
        optimizers.TrainOnly(inner("adam"), [".*/elsewhere"]).create(params)
