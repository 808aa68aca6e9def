"""The optimizer of prompt tuning. Gin files can name any other optimizer of optax
directly, as in `OPTIMIZER = @optax.adamw()`.
"""

from __future__ import annotations

from typing import Any

import gin
import jax
import jax.numpy as jnp
import optax

_MODULE = "prompt_tuning_recycling.standalone.optimizers"


@gin.register(module=_MODULE)
def adafactor(
    learning_rate: optax.ScalarOrSchedule = 0.3,
    decay_rate: float = 0.8,
    weight_decay_rate: float = 1e-5,
    clipping_threshold: float = 1.0,
) -> optax.GradientTransformation:
    """Adafactor (Shazeer and Stern 2018, arXiv 1804.04235) as Lester et al. 2021 use it
    to tune prompts. Updates are not scaled by the parameter's size, and a prompt's
    second moments are kept whole instead of by rows and columns.

    Args:
      learning_rate: a number, or a schedule over the steps since the optimizer's start.
      decay_rate: the second moments' memory at step t is 1 - t^-decay_rate.
      weight_decay_rate: the share of each parameter that every step takes away.
      clipping_threshold: the largest root mean square of an update, before it is
        multiplied by the learning rate.
    """
    return optax.adafactor(
        learning_rate,
        factored=False,
        decay_rate=decay_rate,
        multiply_by_parameter_scale=False,
        clipping_threshold=clipping_threshold,
        weight_decay_rate=weight_decay_rate,
    )


def start(optimizer: optax.GradientTransformation, parameters: Any, step: int) -> Any:
    """Returns the optimizer's state for the parameters at a step.

    Adafactor's memory depends on the step number. Like T5X, this continues counting
    from the initial checkpoint's step. Other optimizers count from their own start.
    """

    def is_adafactors(state: Any) -> bool:
        return isinstance(state, optax.FactoredState)

    def counted(state: Any) -> Any:
        if is_adafactors(state):
            return state._replace(count=jnp.asarray(step, jnp.int32))
        return state

    state = jax.tree.map(counted, optimizer.init(parameters), is_leaf=is_adafactors)
    return jax.tree.map(jnp.asarray, state)
