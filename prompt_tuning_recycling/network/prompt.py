"""The soft prompt, which precedes the encoder's input."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.network.config import T5Config

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class PrependPrompt(nn.Module):
    """Puts the prompt before every example.

    The prompt is in a submodule called `prompt`, so that its parameter has the name
    that prompt-tuning gives it: `encoder/prompt/prompt/prompt`.
    """

    config: T5Config

    @nn.compact
    def __call__(
        self, embedded: Float[Array, "batch inputs emb_dim"]
    ) -> Float[Array, "batch prompt+inputs emb_dim"]:
        prompt = _SoftPrompt(self.config, name="prompt")()
        batch = embedded.shape[0]
        prompts = jnp.broadcast_to(prompt, (batch, *prompt.shape))
        return jnp.concatenate([prompts, embedded], axis=1)


class _SoftPrompt(nn.Module):
    config: T5Config

    @nn.compact
    def __call__(self) -> Float[Array, "prompt_length emb_dim"]:
        prompt = param_with_axes(
            "prompt",
            nn.initializers.uniform(0.5),
            (self.config.prompt_length, self.config.emb_dim),
            jnp.float32,
            axes=("prompt", "prompt_embed"),
        )
        return prompt.astype(self.config.dtype)


def without_prompt(module: nn.Module) -> nn.Module:
    """Returns the same network without its prompt.

    Args:
      module: a `Transformer` whose `prompt_length` is not 0. It is not changed.

    Raises:
      RecyclingError: the network has no prompt, or is not this package's.
    """
    config: Any = getattr(module, "config", None)
    if not getattr(config, "prompt_length", 0):
        raise RecyclingError(
            "the model has no prompt of this package's network, so there is no place "
            "for other prompts. Use a model file whose name ends in _prompt, such as "
            "models/t5_1_1_base_prompt.gin."
        )
    return module.clone(config=dataclasses.replace(config, prompt_length=0))
