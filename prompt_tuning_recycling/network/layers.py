"""The parts of the encoder and the decoder other than attention."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes, with_sharding_constraint

from prompt_tuning_recycling.network.config import T5Config

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

Initializer: TypeAlias = Callable[..., jax.Array]

_fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


class Embedding(nn.Module):
    """The embedding table, float32 [vocab_size, emb_dim]."""

    config: T5Config

    def setup(self) -> None:
        self.embedding = param_with_axes(
            "embedding",
            nn.initializers.normal(self.config.embedding_scale),
            (self.config.vocab_size, self.config.emb_dim),
            jnp.float32,
            axes=("vocab", "embed"),
        )

    def __call__(self, tokens: Int[Array, "..."]) -> Float[Array, "... emb_dim"]:
        # T5X initializes the parameters by calling with floating-point tokens.
        tokens = tokens.astype(jnp.int32)
        table = self.embedding.astype(self.config.dtype)
        if self.config.one_hot_embedding:
            return jax.nn.one_hot(tokens, len(table), dtype=table.dtype) @ table
        return with_sharding_constraint(table[tokens], ("batch", "length", "embed"))

    def attend(self, hidden: Float[Array, "... emb_dim"]) -> Float[Array, "... vocab"]:
        """Returns the product of every vector with every embedding, float32."""
        return hidden.astype(jnp.float32) @ self.embedding.T


class FeedForward(nn.Module):
    """Multiplies branches, each a linear layer with an activation, and then applies
    dropout and a linear layer back to the width of the input.
    """

    config: T5Config

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch length emb_dim"], deterministic: bool
    ) -> Float[Array, "batch length emb_dim"]:
        config = self.config
        names = config.mlp_activations
        branches = []
        for index, activation in enumerate(names):
            name = "wi" if len(names) == 1 else f"wi_{index}"
            y = Linear(config.mlp_dim, ("embed", "mlp"), config.dtype, name=name)(x)
            if activation != "linear":
                y = getattr(nn, activation)(y)
            branches.append(y)
        y = functools.reduce(operator.mul, branches)
        y = make_dropout(config)(y, deterministic)
        y = with_sharding_constraint(y, ("batch", "length", "mlp"))
        return Linear(x.shape[-1], ("mlp", "embed"), config.dtype, name="wo")(y)


class RMSNorm(nn.Module):
    """x / √(mean(x²) + 1e-6) · scale, normalized in float32."""

    config: T5Config

    @nn.compact
    def __call__(self, x: Float[Array, "... emb_dim"]) -> Float[Array, "... emb_dim"]:
        scale = param_with_axes(
            "scale", nn.initializers.ones, x.shape[-1:], jnp.float32, axes=("embed",)
        )
        dtype = self.config.dtype
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        return x.astype(dtype) * scale.astype(dtype)


class Linear(nn.Module):
    """A product with a matrix, without a bias.

    Attributes:
      features: width of the output.
      axes: logical axes of the kernel, [inputs, features].
      dtype: dtype of the product. The kernel itself is float32.
      kernel_init: initializer of the kernel.
    """

    features: int
    axes: tuple[str, str]
    dtype: Any
    kernel_init: Initializer = _fan_in

    @nn.compact
    def __call__(self, x: Float[Array, "... inputs"]) -> Float[Array, "... features"]:
        kernel = param_with_axes(
            "kernel",
            self.kernel_init,
            (x.shape[-1], self.features),
            jnp.float32,
            axes=self.axes,
        )
        return x.astype(self.dtype) @ kernel.astype(self.dtype)


def make_dropout(config: T5Config, broadcast_dims: Sequence[int] = (-2,)) -> nn.Dropout:
    """Returns dropout at the configured rate, with one mask along `broadcast_dims`.

    By default, as in T5, this is the length axis: the same features are dropped at
    every position of an example.
    """
    return nn.Dropout(rate=config.dropout_rate, broadcast_dims=broadcast_dims)
