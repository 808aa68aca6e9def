"""A model's parameters, as flat dictionaries: from a checkpoint, with a prompt that is
made if the checkpoint has none, or new.

Names are T5X's without `target/`: `encoder/prompt/prompt/prompt`.
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

from prompt_tuning_recycling import contract, initial_prompts, run_folder
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.prompts.export import matches

Parameters: TypeAlias = dict[str, jax.Array]


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
    """Returns a network's parameters from a checkpoint, float32, and the prompt that
    the gin files declare if the network has one and the checkpoint has not.

    Args:
      model: the checkpoint, of any format.
      module: the network.
      output_dir: of the run; keeps a recycled prompt.
      default_prompt: what to begin with where nothing is declared; None where it has
        to be.

    Raises:
      RecyclingError: the checkpoint is of another network, or holds a prompt while
        another one is declared, or neither has one.
    """
    kinds = prompts_to_make(model, module, default_prompt)
    expected = shapes(module)
    check_shapes(
        {name: shape for name, shape in expected.items() if name not in kinds},
        _stored_shapes(model),
        str(model.path),
    )
    # The prompts first: they fail sooner, and read little.
    made = run_folder.make_prompts(kinds, _prompts(expected), model, output_dir)
    loaded = _read(model, [name for name in expected if name not in made])
    loaded |= {name: jnp.asarray(prompt) for name, prompt in made.items()}
    return {name: loaded[name] for name in expected}


def prompts_to_make(
    model: Model,
    module: nn.Module,
    default: initial_prompts.InitialPrompt | None = None,
) -> dict[str, initial_prompts.InitialPrompt]:
    """Returns what each of a network's prompts is made of that the checkpoint does not
    hold: `contract.prompts_to_make` with what the gin files declare.
    """
    return contract.prompts_to_make(
        _prompts(shapes(module)),
        _prompts(_stored_shapes(model)),
        initial_prompts.initial_prompt(),
        default,
        str(model.path),
    )


def load_step(model: Model, module: nn.Module) -> Parameters:
    """Returns a network's parameters from a checkpoint of its own run, float32, its
    prompt among them, whatever the gin files declare.

    Raises:
      RecyclingError: the checkpoint is of another network.
    """
    expected = shapes(module)
    check_shapes(expected, _stored_shapes(model), str(model.path))
    return _read(model, list(expected))


def _stored_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in model.parameters.items()}


def _prompts(named: contract.Shapes) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in named.items() if matches(name)}


def _read(model: Model, names: Sequence[str]) -> Parameters:
    return {
        name: jnp.asarray(model.parameters[name].read(), jnp.float32) for name in names
    }


def check_shapes(
    expected: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, tuple[int, ...]],
    where: str,
) -> None:
    """Raises RecyclingError unless both have the same parameters and shapes."""
    hint = " Is the model file (--gin_file=models/...) the one for this checkpoint?"
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
    """Returns the parameters as Flax wants them."""
    return traverse_util.unflatten_dict(dict(parameters), sep="/")


def _init(module: nn.Module, key: jax.Array) -> Mapping[str, Any]:
    tokens = jnp.ones((1, 1), jnp.int32)
    return module.init(key, tokens, tokens, tokens, enable_dropout=False)
