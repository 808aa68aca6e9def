"""A prompt before what a network of T5X's embeds, without a change to that network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import linen as nn

from prompt_tuning_recycling.network.prompt import PrependPrompt

if TYPE_CHECKING:
    from jaxtyping import Array, Int

# What all of T5X's networks call the module that embeds tokens.
_EMBEDDER = "token_embedder"


def visible(tokens: Int[Array, "batch tokens"], length: int) -> Array:
    """Returns tokens after ones that stand for the prompt. The network counts them in
    its masks and positions.

    Args:
      tokens: token ids, or a mask of zeros and ones.
      length: how many vectors the prompt has.

    Returns:
      The same dtype, [batch, length+tokens].
    """
    return jnp.pad(tokens, ((0, 0), (length, 0)), constant_values=1)


@contextlib.contextmanager
def prompt_before_tokens(stack: nn.Module, length: int, dtype: Any) -> Iterator[None]:
    """While it is entered, `stack` gets its prompt where it would get the embeddings of
    the ones that `visible` puts before the tokens. The parameter is
    `<stack>/prompt/prompt/prompt`, float32 [length, width].

    Args:
      stack: T5X's encoder or decoder.
      length: how many vectors the prompt has.
      dtype: the dtype of the activations.
    """

    def embed(
        following: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if (context.module.name, context.method_name) != (_EMBEDDER, "__call__"):
            return following(*arguments, **keywords)
        tokens, *rest = arguments
        embedded = following(tokens[:, length:], *rest, **keywords)
        return PrependPrompt(length, dtype, parent=stack, name="prompt")(embedded)

    with nn.intercept_methods(embed):
        yield


def check_unpacked(segment_ids: Any) -> None:
    """Raises ValueError if examples are packed."""
    if segment_ids is not None:
        raise ValueError(
            "packed examples would share one prompt: set pack = False to use a model "
            "that has one."
        )
