"""A model's parameters, as flat dictionaries: from a checkpoint, with a prompt that is
made if the checkpoint has none, or new.

Names are T5X's without `target/`: `encoder/prompt/prompt/prompt`.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import linen as nn
from flax import traverse_util

from prompt_tuning_recycling import initial_prompts
from prompt_tuning_recycling.checkpoints import Checkpoint
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.prompt_export import matches

Parameters: TypeAlias = dict[str, jax.Array]

TARGET = "target/"
STEP = "state/step"


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
    checkpoint: Checkpoint,
    module: nn.Module,
    output_dir: epath.PathLike,
    default_prompt: initial_prompts.InitialPrompt | None = None,
) -> Parameters:
    """Returns a network's parameters from a checkpoint, float32, and the prompt that
    the gin files declare if the network has one and the checkpoint has not.

    Args:
      checkpoint: of any format.
      module: the network.
      output_dir: of the run; keeps a recycled prompt.
      default_prompt: what to begin with where nothing is declared; None where it has
        to be.

    Raises:
      RecyclingError: the checkpoint is of another network, or holds a prompt while
        another one is declared, or neither has one.
    """
    expected = shapes(module)
    prompts = [name for name in expected if matches(name)]
    stored = {
        name.removeprefix(TARGET): checkpoint.shape(name)
        for name in checkpoint.keys()
        if name.startswith(TARGET)
    }
    made = {name: shape for name, shape in expected.items() if name in prompts}
    made = {name: shape for name, shape in made.items() if name not in stored}
    check_shapes(
        {name: shape for name, shape in expected.items() if name not in made},
        stored,
        str(checkpoint.path),
    )
    kind = initial_prompts.initial_prompt()
    if prompts and not made and kind is not None:
        raise RecyclingError(
            f"{checkpoint.path} already holds a prompt, and the gin files declare "
            f"another one ({type(kind).__name__}). To go on with the checkpoint's own "
            "prompt, leave recycle_init.gin (or prompts/*.gin) out. To start from the "
            "declared one, give the model without a prompt as "
            "INITIAL_CHECKPOINT_PATH."
        )
    if kind is not None and not prompts:
        raise RecyclingError(
            "the gin files declare a prompt, but the model has none. Use a model file "
            "that ends in _prompt, such as models/t5_1_1_base_prompt.gin."
        )
    kind = kind or default_prompt
    # The prompt first: it fails sooner, and reads little.
    arrays: dict[str, np.ndarray] = {}
    for name, (length, _) in made.items():
        if kind is None:
            raise RecyclingError(
                f"the model has a prompt, but {checkpoint.path} holds none. Say where "
                "it comes from: recycle_init.gin recycles one, prompts/from_file.gin "
                "takes one as it is; or give a checkpoint that was tuned."
            )
        arrays[name] = initial_prompts.make_or_keep(
            kind, checkpoint, length, output_dir
        )
    for name in expected:
        if name not in arrays:
            arrays[name] = checkpoint.read_floats(TARGET + name)
    return {name: jnp.asarray(arrays[name], jnp.float32) for name in expected}


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
    if leftover and all(map(matches, leftover)):
        raise RecyclingError(
            f"{where} holds a prompt, {leftover[0]} {list(stored[leftover[0]])}, but "
            "the model has none. Use the model file that ends in _prompt and set "
            f"--gin.PROMPT_LENGTH={stored[leftover[0]][0]}."
        )
    if leftover:
        raise RecyclingError(
            f"{where} holds {len(leftover)} parameters that the model does not have, "
            f"first {leftover[0]}.{hint}"
        )
    for name, shape in expected.items():
        if tuple(stored[name]) != tuple(shape):
            if matches(name):
                hint = f" Set --gin.PROMPT_LENGTH={stored[name][0]}."
            raise RecyclingError(
                f"{where} has {name} of shape {list(stored[name])}, but the model "
                f"expects {list(shape)}.{hint}"
            )


def step_of(checkpoint: Checkpoint) -> int:
    """Returns the number of training steps behind a checkpoint; 0 if unknown."""
    return int(checkpoint.read(STEP)) if STEP in checkpoint.keys() else 0


def nested(parameters: Mapping[str, jax.Array]) -> dict[str, dict]:
    """Returns the parameters as Flax wants them."""
    return traverse_util.unflatten_dict(dict(parameters), sep="/")


def _init(module: nn.Module, key: jax.Array) -> Mapping[str, Any]:
    tokens = jnp.ones((1, 1), jnp.int32)
    return module.init(key, tokens, tokens, tokens, enable_dropout=False)
