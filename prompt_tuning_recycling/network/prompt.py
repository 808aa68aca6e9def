"""The soft prompt, which precedes the encoder's input."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from prompt_tuning_recycling.errors import RecyclingError

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class PrependPrompt(nn.Module):
    """Puts the prompt before every example.

    The prompt is in a submodule called `prompt`, so that its parameter has the name
    that prompt-tuning gives it: `encoder/prompt/prompt/prompt`.

    Attributes:
      length: how many vectors the prompt has.
      dtype: dtype of the activations. The parameter itself is float32.
    """

    length: int
    dtype: Any

    @nn.compact
    def __call__(
        self, embedded: Float[Array, "batch inputs emb_dim"]
    ) -> Float[Array, "batch prompt+inputs emb_dim"]:
        shape = (self.length, embedded.shape[-1])
        prompt = _SoftPrompt(shape, name="prompt")().astype(self.dtype)
        batch = embedded.shape[0]
        prompts = jnp.broadcast_to(prompt, (batch, *prompt.shape))
        return jnp.concatenate([prompts, embedded], axis=1)


class _SoftPrompt(nn.Module):
    shape: tuple[int, int]

    @nn.compact
    def __call__(self) -> Float[Array, "length emb_dim"]:
        return param_with_axes(
            "prompt",
            nn.initializers.uniform(0.5),
            self.shape,
            jnp.float32,
            axes=("prompt", "prompt_embed"),
        )


def without_prompt(module: nn.Module) -> nn.Module:
    """Returns the same network without its prompt.

    Args:
      module: a network whose `prompt_length`, or its configuration's, is not 0. It is
        not changed.

    Raises:
      RecyclingError: the network has no prompt, or is not one of this package's.
    """
    if getattr(module, "prompt_length", 0):
        return module.clone(prompt_length=0)
    config: Any = getattr(module, "config", None)
    if not getattr(config, "prompt_length", 0):
        raise RecyclingError(
            "the model has no prompt of this package's network, so there is no place "
            "for other prompts. Use a model file whose name ends in _prompt, such as "
            "models/t5_1_1_base_prompt.gin."
        )
    return module.clone(config=dataclasses.replace(config, prompt_length=0))
