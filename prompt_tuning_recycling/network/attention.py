"""Attention, and the relative position bias that T5 adds to it."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.partitioning import param_with_axes, with_sharding_constraint

from prompt_tuning_recycling.network.config import T5Config
from prompt_tuning_recycling.network.layers import Initializer, Linear, make_dropout

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

_BUCKETS = 32
_MAX_DISTANCE = 128
# Added to the attention logits of positions that must not be seen.
_MASKED = -1e10

_fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_fan_avg = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


class Attention(nn.Module):
    """Multi-head attention: softmax(QKᵀ + bias)V.

    QKᵀ is not divided by √head_dim. Instead, T5 initializes the kernel of the queries
    with values smaller by that factor.
    """

    config: T5Config

    @nn.compact
    def __call__(
        self,
        queries_from: Float[Array, "batch queries emb_dim"],
        keys_from: Float[Array, "batch keys emb_dim"],
        mask: Bool[Array, "batch 1 #queries keys"] | None,
        bias: Float[Array, "1 heads queries keys"] | None,
        deterministic: bool,
        decode: bool = False,
    ) -> Float[Array, "batch queries emb_dim"]:
        """Returns the output of attention for every query.

        Args:
          queries_from: what the queries are computed from.
          keys_from: what the keys and the values are computed from.
          mask: which keys a query sees; None for all.
          bias: added to the attention logits; None for none.
          deterministic: whether to leave out dropout.
          decode: whether to use (or make) the cache of earlier tokens.

        Raises:
          ValueError: there is a cache, and more than one query.
        """
        config = self.config
        width = config.num_heads * config.head_dim

        def heads(name: str, x: jax.Array, init: Initializer = _fan_in) -> jax.Array:
            """[batch, length, emb_dim] -> [batch, heads, length, head_dim]."""
            x = Linear(width, ("embed", "joined_kv"), config.dtype, init, name=name)(x)
            x = x.reshape(*x.shape[:2], config.num_heads, config.head_dim)
            x = with_sharding_constraint(x, ("batch", "length", "heads", "kv"))
            return x.swapaxes(1, 2)

        query = heads("query", queries_from, _query_init(config.head_dim))
        key = heads("key", keys_from)
        value = heads("value", keys_from)
        if decode:
            key, value, mask, bias = self._cached(key, value, mask, bias)

        if config.float32_attention_logits:
            query, key = query.astype(jnp.float32), key.astype(jnp.float32)
        logits = query @ key.swapaxes(-1, -2)
        if bias is not None:
            logits += bias.astype(logits.dtype)
        if mask is not None:
            logits += jnp.where(mask, 0, _MASKED).astype(logits.dtype)
        weights = jax.nn.softmax(logits).astype(config.dtype)
        weights = make_dropout(config)(weights, deterministic)
        x = (weights @ value).swapaxes(1, 2)
        return Linear(
            queries_from.shape[-1],
            ("joined_kv", "embed"),
            config.dtype,
            _fan_in,
            name="out",
        )(x.reshape(*x.shape[:2], width))

    def _cached(
        self,
        key: Float[Array, "batch heads length head_dim"],
        value: Float[Array, "batch heads length head_dim"],
        mask: Bool[Array, "batch 1 1 keys"] | None,
        bias: Float[Array, "1 heads length length"] | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
        """Returns the keys and values of this token and the earlier ones, and the mask
        and bias for them.

        The first call makes the cache, [batch, heads, head_dim, length] as in T5X,
        whose beam search reorders it. Each later call adds one token.
        """
        exists = self.has_variable("cache", "cached_key")
        transposed = key.swapaxes(-1, -2).shape
        keys = self.variable("cache", "cached_key", jnp.zeros, transposed, key.dtype)
        values = self.variable(
            "cache", "cached_value", jnp.zeros, transposed, value.dtype
        )
        position = self.variable("cache", "cache_index", jnp.zeros, (), jnp.int32)
        if not exists:
            return key, value, mask, bias
        if key.shape[2] != 1:
            raise ValueError(
                "with a cache, tokens are decoded one at a time: expected "
                f"decoder_input_tokens [batch, 1], found [batch, {key.shape[2]}]."
            )
        index = position.value
        length = keys.value.shape[-1]
        # A sum replaces a scatter: it is cheap on TPUs, and the cache starts as zeros.
        here = jax.nn.one_hot(index, length, dtype=key.dtype)
        keys.value = keys.value + key.swapaxes(-1, -2) * here
        values.value = values.value + value.swapaxes(-1, -2) * here
        position.value = index + 1
        seen = (jnp.arange(length) <= index)[None, None, None, :]
        if bias is not None:
            bias = jax.lax.dynamic_slice_in_dim(bias, index, 1, axis=2)
        return (
            keys.value.swapaxes(-1, -2),
            values.value.swapaxes(-1, -2),
            seen if mask is None else mask & seen,
            bias,
        )


@functools.cache
def _query_init(head_dim: int) -> Initializer:
    """Cached, so that equal modules compare equal and nothing is compiled twice."""
    return lambda *args: _fan_in(*args) / math.sqrt(head_dim)


class RelativePositionBias(nn.Module):
    """A learned number for every head and bucket of relative positions.

    Attributes:
      config: sizes and options.
      bidirectional: see `relative_position_buckets`.
    """

    config: T5Config
    bidirectional: bool

    @nn.compact
    def __call__(self, length: int) -> Float[Array, "1 heads length length"]:
        table = param_with_axes(
            "rel_embedding",
            _fan_avg,
            (self.config.num_heads, _BUCKETS),
            jnp.float32,
            axes=("heads", "relpos_buckets"),
        )
        buckets = relative_position_buckets(length, self.bidirectional)
        return table.astype(self.config.dtype)[None, :, buckets]


def relative_position_buckets(
    length: int, bidirectional: bool
) -> Int[np.ndarray, "length length"]:
    """Returns the bucket of every pair of positions [query, key], in [0, 32).

    Half of the buckets hold one distance each. The others hold ranges that grow
    logarithmically up to distance 128, and the last one also holds all longer ones.
    (Raffel et al. 2020, section 2.1.)

    Args:
      length: the number of positions.
      bidirectional: whether half of the buckets are for keys after the query, as in
        the encoder. Otherwise all are for keys up to the query, and later keys share
        the bucket of distance 0.
    """
    position = np.arange(length)
    relative = position[None, :] - position[:, None]
    offset = np.zeros_like(relative)
    buckets = _BUCKETS
    if bidirectional:
        buckets //= 2
        offset = np.where(relative > 0, buckets, 0)
        distance = np.abs(relative)
    else:
        distance = np.maximum(-relative, 0)
    exact = buckets // 2
    # In float32, as in the models' training: rounding decides at some borders.
    ratio = np.maximum(distance, exact).astype(np.float32) / np.float32(exact)
    growth = np.log(ratio + np.finfo(np.float32).eps) / np.log(_MAX_DISTANCE / exact)
    logarithmic = exact + (growth * (buckets - exact)).astype(np.int64)
    logarithmic = np.minimum(logarithmic, buckets - 1)
    return offset + np.where(distance < exact, distance, logarithmic)
