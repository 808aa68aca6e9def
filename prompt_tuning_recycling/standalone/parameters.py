"""A model's parameters as flat dictionaries. They are new, or come from a checkpoint,
with a prompt made if it has none.

The names are T5X's without `target/`: `encoder/prompt/prompt/prompt`.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from etils import epath
from flax import linen as nn
from flax import traverse_util

from prompt_tuning_recycling import contract, initial_prompts
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.kept_prompts import Keeping, make_prompts
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.network import check_sizes
from prompt_tuning_recycling.prompts.export import matches

Parameters: TypeAlias = dict[str, jax.Array]

_WHICH_MODEL_FILE = (
    " Is the model file (--gin_file=models/...) the one for this checkpoint?"
)


@functools.cache
def shapes(module: nn.Module) -> Mapping[str, tuple[int, ...]]:
    """Returns the names and shapes of a network's parameters, in its order."""
    variables = jax.eval_shape(lambda: _init(module, jax.random.key(0)))
    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    return types.MappingProxyType({name: leaf.shape for name, leaf in flat.items()})


def new(module: nn.Module, seed: int) -> Parameters:
    """Returns random parameters for a network."""
    variables = jax.jit(_init, static_argnums=0)(module, jax.random.key(seed))
    return traverse_util.flatten_dict(variables["params"], sep="/")


def load(
    model: Model,
    module: nn.Module,
    output_dir: epath.PathLike,
    default_prompt: initial_prompts.InitialPrompt | None = None,
) -> Parameters:
    """Returns a network's parameters from a checkpoint, float32. If only the network
    has a prompt, it is the one that the gin files declare.

    Args:
      model: the checkpoint, in any format.
      module: the network.
      output_dir: the run's folder, which keeps a recycled prompt.
      default_prompt: what a prompt starts from if nothing is declared; None if the gin
        files must declare it.

    Raises:
      RecyclingError: the checkpoint belongs to another network, or it holds a prompt
        and the gin files declare another, or neither has one.
    """
    kinds = prompts_to_make(model, module, default_prompt)
    expected = shapes(module)
    _check(
        model,
        module,
        {name: shape for name, shape in expected.items() if name not in kinds},
        _stored_shapes(model),
    )
    # The prompts come first: they fail sooner, and read little.
    keeping = None if output_dir is None else Keeping(output_dir)
    made = make_prompts(kinds, _prompts(expected), model, keeping)
    loaded = _read(model, [name for name in expected if name not in made])
    loaded |= {name: jnp.asarray(prompt) for name, prompt in made.items()}
    return {name: loaded[name] for name in expected}


def load_rest(model: Model, module: nn.Module) -> Parameters:
    """Returns a network's parameters, float32, from a checkpoint that may also hold
    prompts, which the network does not have.

    Raises:
      RecyclingError: the checkpoint belongs to another network.
    """
    expected = shapes(module)
    stored = _stored_shapes(model)
    rest = {name: shape for name, shape in stored.items() if not matches(name)}
    _check(model, module, expected, rest)
    return _read(model, list(expected))


def prompts_to_make(
    model: Model,
    module: nn.Module,
    default: initial_prompts.InitialPrompt | None = None,
) -> dict[str, initial_prompts.InitialPrompt]:
    """Returns what to make of each prompt that a network has and the checkpoint lacks:
    `contract.prompts_to_make` with what the gin files declare.
    """
    return contract.prompts_to_make(
        _prompts(shapes(module)),
        _prompts(_stored_shapes(model)),
        initial_prompts.initial_prompt(),
        default,
        str(model.path),
    )


def load_step(model: Model, module: nn.Module) -> Parameters:
    """Returns a network's parameters, float32, from a checkpoint of its own run. They
    include the prompt, whatever the gin files declare.

    Raises:
      RecyclingError: the checkpoint belongs to another network.
    """
    expected = shapes(module)
    check_shapes(expected, _stored_shapes(model), str(model.path))
    return _read(model, list(expected))


def _stored_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in model.parameters.items()}


def _prompts(named: contract.Shapes) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in named.items() if matches(name)}


def _read(model: Model, names: Sequence[str]) -> Parameters:
    with model.unchanged():
        return {
            name: jnp.asarray(model.parameters[name].read(), jnp.float32)
            for name in names
        }


def _check(
    model: Model,
    module: nn.Module,
    expected: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, tuple[int, ...]],
) -> None:
    """Raises RecyclingError unless a checkpoint is the network's."""
    where = str(model.path)
    declared = model.network_sizes
    if declared is None:
        check_shapes(expected, stored, where)
        return
    check_sizes(module, declared, where)
    hint = " Its configuration says otherwise. Copy or download both again."
    check_shapes(expected, stored, where, hint)


def check_shapes(
    expected: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, tuple[int, ...]],
    where: str,
    hint: str = _WHICH_MODEL_FILE,
) -> None:
    """Raises RecyclingError unless both have the same parameters and shapes."""
    missing = [name for name in expected if name not in stored]
    leftover = [name for name in stored if name not in expected]
    if missing:
        raise RecyclingError(
            f"{where} lacks {len(missing)} of the model's {len(expected)} parameters, "
            f"first {missing[0]}.{hint}"
        )
    if leftover:
        raise RecyclingError(
            f"{where} holds {len(leftover)} parameters that the model does not have, "
            f"first {leftover[0]}.{hint}"
        )
    for name, shape in expected.items():
        if matches(name):
            contract.check_shape(name, stored[name], shape, where)
        if tuple(stored[name]) != tuple(shape):
            raise RecyclingError(
                f"{where} has {name} of shape {list(stored[name])}, but the model "
                f"expects {list(shape)}.{hint}"
            )


def nested(parameters: Mapping[str, jax.Array]) -> dict[str, dict]:
    """Returns the parameters nested, as Flax expects them."""
    return traverse_util.unflatten_dict(dict(parameters), sep="/")


def _init(module: nn.Module, key: jax.Array) -> Mapping[str, Any]:
    tokens = jnp.ones((1, 1), jnp.int32)
    return module.init(key, tokens, tokens, tokens, enable_dropout=False)
