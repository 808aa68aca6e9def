"""An optimizer for some of the parameters, such as the prompt, that can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import gin
from flax import core, serialization, traverse_util
from t5x import adafactor, optimizers

from prompt_tuning_recycling import contract
from prompt_tuning_recycling.prompts.export import PROMPT_REGEX

_MODULE = "prompt_tuning_recycling.t5x_host.optimizers"

Tree = TypeVar("Tree", bound=Mapping[str, Any])


@gin.register(module=_MODULE)
class TrainOnly(optimizers.OptimizerDef):
    """Passes the parameters whose names match to another optimizer. The others stay as
    they are and have no state.

    T5X's MultiOptimizer keeps an empty state for every other parameter. Orbax looks for
    these states when a run is resumed, and does not find them. Here they are left out.
    """

    def __init__(
        self,
        optimizer_def: optimizers.OptimizerDef,
        patterns: Sequence[str] = PROMPT_REGEX,
    ) -> None:
        """Wraps a T5X optimizer: its Adafactor, or one that wraps optax.

        Args:
          optimizer_def: what updates the parameters that match.
          patterns: regular expressions. A parameter is trained if one of them matches
            its whole name, such as `/encoder/prompt/prompt/prompt`.
        """
        super().__init__(optimizer_def.hyper_params)
        self._inner = optimizer_def
        self._patterns = tuple(patterns)

    def init_state(self, params: Mapping[str, Any]) -> optimizers.OptimizerState:
        """Returns the state of the parameters that are trained.

        Raises:
          RecyclingError: no parameter is trained.
        """
        return self._inner.init_state(self._trained(params))

    def apply_gradient(
        self, hyper_params: Any, params: Tree, state: Any, grads: Mapping[str, Any]
    ) -> tuple[Tree, Any]:
        """Returns the parameters after a step, and the state."""
        trained, state = self._inner.apply_gradient(
            hyper_params, self._trained(params), state, self._trained(grads)
        )
        return _like(params, {**_flat(params), **_flat(trained)}), state

    def state_dict(self, target: Any, state: Any) -> dict[str, Any]:
        """Returns what is saved: all parameters, and the states of the trained ones."""
        return self._inner.state_dict(target, state)

    def restore_state(
        self, opt_target: Any, opt_state: Any, state_dict: Mapping[str, Any]
    ) -> tuple[Any, Any]:
        """Returns the parameters and the state that `state_dict` holds."""
        return self._inner.restore_state(opt_target, opt_state, state_dict)

    def set_param_axes(self, param_logical_axes: Mapping[str, Any]) -> None:
        """Tells Adafactor the names of the axes, which decide what it factors."""
        if hasattr(self._inner, "set_param_axes"):
            self._inner.set_param_axes(self._trained(param_logical_axes))
            self.hyper_params = self._inner.hyper_params

    def derive_logical_axes(
        self, optimizer: optimizers.Optimizer, param_logical_axes: Mapping[str, Any]
    ) -> optimizers.Optimizer:
        """Returns the optimizer with names of axes in place of arrays."""
        inner = optimizers.Optimizer(
            self._inner, optimizer.state, self._trained(optimizer.target)
        )
        derived = self._inner.derive_logical_axes(
            inner, self._trained(param_logical_axes)
        )
        axes = serialization.to_state_dict(core.unfreeze(dict(param_logical_axes)))
        target = serialization.from_state_dict(optimizer.target, axes)
        return optimizer.replace(target=target, state=derived.state)

    def _trained(self, tree: Tree) -> Tree:
        flat = _flat(tree)
        names = contract.names_to_train(flat, self._patterns)
        return _like(tree, {name: flat[name] for name in names})


@gin.register(module=_MODULE)
def logical_factor_rules() -> Mapping[str, adafactor.FactorDim]:
    """Returns the axes along which Adafactor factors its second moments: T5X's own, and
    neither axis of a prompt.
    """
    rules = core.unfreeze(adafactor.standard_logical_factor_rules())
    unfactored = dict.fromkeys(("prompt", "prompt_embed"), adafactor.FactorDim.NONE)
    return core.freeze({**rules, **unfactored})


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.flatten_dict(core.unfreeze(dict(tree)), sep="/")


def _like(tree: Tree, flat: Mapping[str, Any]) -> Any:
    """Returns `flat` nested again, and frozen if `tree` is."""
    nested = traverse_util.unflatten_dict(dict(flat), sep="/")
    return core.freeze(nested) if isinstance(tree, core.FrozenDict) else nested
