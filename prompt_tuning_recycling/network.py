"""T5 1.1 with an optional soft prompt, in Flax Linen.

The architecture is that of Raffel et al. 2020 (arXiv 1910.10683) as revised in T5 1.1
(Shazeer 2020, arXiv 2002.05202: gated GELU); the prompt is that of Lester et al. 2021
(arXiv 2104.08691). Parameters, their shapes and logical axes, the call signatures
(`__call__`, `encode`, `decode`) and the decoding cache go by T5X's names, so that it
reads T5X's checkpoints and can be the module of T5X's `EncoderDecoderModel`:

| parameter | shape |
|---|---|
| `token_embedder/embedding` | [vocab_size, emb_dim] |
| `encoder/prompt/prompt/prompt` | [prompt_length, emb_dim] |
| `{encoder,decoder}/relpos_bias/rel_embedding` | [num_heads, 32] |
| `.../layers_N/*attention/{query,key,value}/kernel` | [emb_dim, num_heads * head_dim] |
| `.../layers_N/*attention/out/kernel` | [num_heads * head_dim, emb_dim] |
| `.../layers_N/mlp/{wi_0,wi_1}/kernel` | [emb_dim, mlp_dim] |
| `.../layers_N/mlp/wo/kernel` | [mlp_dim, emb_dim] |
| `.../*norm/scale` | [emb_dim] |
| `decoder/logits_dense/kernel` | [emb_dim, vocab_size] |
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import gin
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.partitioning import param_with_axes, with_sharding_constraint

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

Initializer: TypeAlias = Callable[..., jax.Array]

_BUCKETS = 32
_MAX_DISTANCE = 128
# Added to the attention logits of positions that must not be seen.
_MASKED = -1e10

_fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
_attention_fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_fan_avg = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


@gin.register(module="prompt_tuning_recycling.network")
@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes and options of the network; names as in T5X's own `T5Config`.

    Attributes:
      vocab_size: rows of the embedding table, padding included.
      dtype: of the activations; parameters are float32, logits too.
      emb_dim: width of the model, and of a prompt for it.
      num_heads: attention heads in each layer.
      num_encoder_layers: layers of the encoder.
      num_decoder_layers: layers of the decoder.
      head_dim: width of an attention head.
      mlp_dim: width of the feed-forward layers.
      mlp_activations: of the feed-forward layers, multiplied: `("gelu", "linear")`
        is T5 1.1's gated GELU, `("relu",)` is T5 1.0.
      dropout_rate: share of activations dropped while training, in [0, 1).
      logits_via_embedding: whether the output layer is the embedding table, as in
        T5 1.0, instead of a matrix of its own, as in T5 1.1.
      float32_attention_logits: whether attention weights are computed in float32
        where `dtype` is narrower.
      prompt_length: positions of the soft prompt before the encoder's input; 0 for a
        model without one.
      embedding_scale: standard deviation of a new embedding table's numbers.
      one_hot_embedding: look embeddings up by a product with one-hot vectors instead
        of by index. The same numbers; cheaper where the table is split over devices.
    """

    vocab_size: int = 32128
    dtype: Any = "float32"
    emb_dim: int = 512
    num_heads: int = 6
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    head_dim: int = 64
    mlp_dim: int = 1024
    mlp_activations: Sequence[str] = ("gelu", "linear")
    dropout_rate: float = 0.0
    logits_via_embedding: bool = False
    float32_attention_logits: bool = False
    prompt_length: int = 0
    embedding_scale: float = 1.0
    one_hot_embedding: bool = False

    def __post_init__(self) -> None:
        # Gin hands over lists, which Flax cannot hash.
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))


@gin.register(module="prompt_tuning_recycling.network")
class Transformer(nn.Module):
    """The encoder and the decoder, over one embedding table.

    Attributes:
      config: sizes and options.
    """

    config: T5Config

    def setup(self) -> None:
        self.token_embedder = _Embedding(self.config)
        self.encoder = _Encoder(self.config)
        self.decoder = _Decoder(self.config)

    def __call__(
        self,
        encoder_input_tokens: Int[Array, "batch inputs"],
        decoder_input_tokens: Int[Array, "batch targets"],
        decoder_target_tokens: Int[Array, "batch targets"],
        encoder_segment_ids: Int[Array, "batch inputs"] | None = None,
        decoder_segment_ids: Int[Array, "batch targets"] | None = None,
        encoder_positions: Int[Array, "batch inputs"] | None = None,
        decoder_positions: Int[Array, "batch targets"] | None = None,
        *,
        enable_dropout: bool = True,
        decode: bool = False,
    ) -> Float[Array, "batch targets vocab_size"]:
        """Returns the logits of every target token.

        Args:
          encoder_input_tokens: 0 is padding, which is not seen.
          decoder_input_tokens: the targets moved right by one, 0 first.
          decoder_target_tokens: the targets; 0 is padding.
          encoder_segment_ids: which example of a packed row a token belongs to;
            packing works only without a prompt.
          decoder_segment_ids: likewise.
          encoder_positions: unused, for T5X's sake: positions are relative.
          decoder_positions: likewise.
          enable_dropout: needs a `dropout` random stream if the rate is not 0.
          decode: make an empty decoding cache of the targets' length.
        """
        encoded = self.encode(
            encoder_input_tokens, encoder_segment_ids, enable_dropout=enable_dropout
        )
        return self.decode(
            encoded,
            encoder_input_tokens,
            decoder_input_tokens,
            decoder_target_tokens,
            encoder_segment_ids=encoder_segment_ids,
            decoder_segment_ids=decoder_segment_ids,
            decoder_positions=decoder_positions,
            enable_dropout=enable_dropout,
            decode=decode,
        )

    def encode(
        self,
        encoder_input_tokens: Int[Array, "batch inputs"],
        encoder_segment_ids: Int[Array, "batch inputs"] | None = None,
        enable_dropout: bool = True,
    ) -> Float[Array, "batch prompt+inputs emb_dim"]:
        """Returns the encoder's output: the prompt's positions, then the inputs'."""
        if encoder_segment_ids is not None and self.config.prompt_length:
            raise ValueError(
                "packed examples would share one prompt: set pack = False to train a "
                "model that has one."
            )
        visible = self._visible(encoder_input_tokens)
        mask = visible[:, None, :, None] & visible[:, None, None, :]
        if encoder_segment_ids is not None:
            mask &= _same_segment(encoder_segment_ids, encoder_segment_ids)
        embedded = self.token_embedder(encoder_input_tokens)
        return self.encoder(embedded, mask, deterministic=not enable_dropout)

    def decode(
        self,
        encoded: Float[Array, "batch prompt+inputs emb_dim"],
        encoder_input_tokens: Int[Array, "batch inputs"],
        decoder_input_tokens: Int[Array, "batch targets"],
        decoder_target_tokens: Int[Array, "batch targets"],
        encoder_segment_ids: Int[Array, "batch inputs"] | None = None,
        decoder_segment_ids: Int[Array, "batch targets"] | None = None,
        decoder_positions: Int[Array, "batch targets"] | None = None,
        enable_dropout: bool = True,
        decode: bool = False,
        max_decode_length: int | None = None,
    ) -> Float[Array, "batch targets vocab_size"]:
        """Returns the logits of the targets, given the encoder's output.

        Args:
          encoded: what `encode` returned.
          encoder_input_tokens: the inputs again, for what may be seen of them.
          decoder_input_tokens: as in `__call__`; with a cache one token, [batch, 1].
          decoder_target_tokens: as in `__call__`.
          encoder_segment_ids: as in `__call__`; not while decoding.
          decoder_segment_ids: likewise.
          decoder_positions: unused.
          enable_dropout: as in `__call__`.
          decode: use (or make) the cache of earlier tokens, collection `cache`.
          max_decode_length: length of the cache in use.
        """
        del decoder_positions
        inputs_visible = self._visible(encoder_input_tokens)[:, None, None, :]
        if decode:
            if encoder_segment_ids is not None:
                raise ValueError("packed examples cannot be decoded token by token.")
            # What follows the token at hand is hidden by the cache's own index.
            mask = None
            targets_visible = jnp.ones_like(decoder_target_tokens, bool)
        else:
            targets_visible = decoder_target_tokens > 0
            length = decoder_target_tokens.shape[1]
            mask = (
                jnp.tri(length, dtype=bool)
                & targets_visible[:, None, :, None]
                & targets_visible[:, None, None, :]
            )
        cross_mask = targets_visible[:, None, :, None] & inputs_visible
        if encoder_segment_ids is not None and mask is not None:
            mask &= _same_segment(decoder_segment_ids, decoder_segment_ids)
            cross_mask &= _same_segment(decoder_segment_ids, encoder_segment_ids)
        hidden = self.decoder(
            self.token_embedder(decoder_input_tokens),
            encoded,
            mask,
            cross_mask,
            deterministic=not enable_dropout,
            decode=decode,
            max_decode_length=max_decode_length,
        )
        if self.config.logits_via_embedding:
            return self.token_embedder.attend(hidden / math.sqrt(self.config.emb_dim))
        return self.decoder.logits(hidden)

    def _visible(
        self, tokens: Int[Array, "batch inputs"]
    ) -> Bool[Array, "batch prompt+inputs"]:
        """Which positions of the encoder hold something: the prompt always does."""
        return jnp.pad(
            tokens > 0, ((0, 0), (self.config.prompt_length, 0)), constant_values=True
        )


def _same_segment(
    queries: Int[Array, "batch queries"] | None,
    keys: Int[Array, "batch keys"] | None,
) -> Bool[Array, "batch 1 queries keys"]:
    if queries is None or keys is None:
        raise ValueError(
            "packed examples need encoder_segment_ids and decoder_segment_ids."
        )
    return queries[:, None, :, None] == keys[:, None, None, :]


class _Embedding(nn.Module):
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
        # T5X makes its parameters by calling with floating-point ones.
        tokens = tokens.astype(jnp.int32)
        table = self.embedding.astype(self.config.dtype)
        if self.config.one_hot_embedding:
            return jax.nn.one_hot(tokens, len(table), dtype=table.dtype) @ table
        return with_sharding_constraint(table[tokens], ("batch", "length", "embed"))

    def attend(self, hidden: Float[Array, "... emb_dim"]) -> Float[Array, "... vocab"]:
        return hidden.astype(jnp.float32) @ self.embedding.T


class _Encoder(nn.Module):
    config: T5Config

    @nn.compact
    def __call__(
        self,
        embedded: Float[Array, "batch inputs emb_dim"],
        mask: Bool[Array, "batch 1 keys keys"],
        deterministic: bool,
    ) -> Float[Array, "batch keys emb_dim"]:
        config = self.config
        x = embedded
        if config.prompt_length:
            x = _PrependPrompt(config, name="prompt")(x)
        x = _dropout(config)(x, deterministic).astype(config.dtype)
        bias = _RelativePositionBias(config, bidirectional=True, name="relpos_bias")(
            x.shape[1]
        )
        for index in range(config.num_encoder_layers):
            x = _EncoderLayer(config, name=f"layers_{index}")(
                x, bias, mask, deterministic
            )
        x = _RMSNorm(config, name="encoder_norm")(x)
        return _dropout(config, broadcast_dims=())(x, deterministic)


class _PrependPrompt(nn.Module):
    """Puts the prompt before every example; holds it as prompt-tuning does, in a
    module of its own called `prompt`.
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


class _Decoder(nn.Module):
    config: T5Config

    def setup(self) -> None:
        config = self.config
        self.relpos_bias = _RelativePositionBias(config, bidirectional=False)
        self.layers = [_DecoderLayer(config) for _ in range(config.num_decoder_layers)]
        self.decoder_norm = _RMSNorm(config)
        if not config.logits_via_embedding:
            # In float32, for the softmax's sake.
            self.logits_dense = _Linear(
                config.vocab_size, ("embed", "vocab"), dtype="float32"
            )
        self.dropout = _dropout(config)

    def __call__(
        self,
        embedded: Float[Array, "batch targets emb_dim"],
        encoded: Float[Array, "batch keys emb_dim"],
        mask: Bool[Array, "batch 1 targets targets"] | None,
        cross_mask: Bool[Array, "batch 1 targets keys"],
        deterministic: bool,
        decode: bool,
        max_decode_length: int | None,
    ) -> Float[Array, "batch targets emb_dim"]:
        x = self.dropout(embedded, deterministic).astype(self.config.dtype)
        length = max_decode_length if decode and max_decode_length else x.shape[1]
        bias = self.relpos_bias(length)
        for layer in self.layers:
            x = layer(x, encoded, bias, mask, cross_mask, deterministic, decode)
        return self.dropout(self.decoder_norm(x), deterministic)

    def logits(self, hidden: Float[Array, "... emb_dim"]) -> Float[Array, "... vocab"]:
        return self.logits_dense(hidden)


class _EncoderLayer(nn.Module):
    config: T5Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch keys emb_dim"],
        bias: Float[Array, "1 heads keys keys"],
        mask: Bool[Array, "batch 1 keys keys"],
        deterministic: bool,
    ) -> Float[Array, "batch keys emb_dim"]:
        dropout = _dropout(self.config)
        y = _RMSNorm(self.config, name="pre_attention_layer_norm")(x)
        y = _Attention(self.config, name="attention")(y, y, mask, bias, deterministic)
        x = x + dropout(y, deterministic)
        y = _RMSNorm(self.config, name="pre_mlp_layer_norm")(x)
        y = _FeedForward(self.config, name="mlp")(y, deterministic)
        return x + dropout(y, deterministic)


class _DecoderLayer(nn.Module):
    config: T5Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch targets emb_dim"],
        encoded: Float[Array, "batch keys emb_dim"],
        bias: Float[Array, "1 heads targets targets"],
        mask: Bool[Array, "batch 1 targets targets"] | None,
        cross_mask: Bool[Array, "batch 1 targets keys"],
        deterministic: bool,
        decode: bool,
    ) -> Float[Array, "batch targets emb_dim"]:
        config = self.config
        dropout = _dropout(config)
        y = _RMSNorm(config, name="pre_self_attention_layer_norm")(x)
        y = _Attention(config, name="self_attention")(
            y, y, mask, bias, deterministic, decode=decode
        )
        x = x + dropout(y, deterministic)
        y = _RMSNorm(config, name="pre_cross_attention_layer_norm")(x)
        y = _Attention(config, name="encoder_decoder_attention")(
            y, encoded, cross_mask, None, deterministic
        )
        x = x + dropout(y, deterministic)
        y = _RMSNorm(config, name="pre_mlp_layer_norm")(x)
        y = _FeedForward(config, name="mlp")(y, deterministic)
        return x + dropout(y, deterministic)


class _Attention(nn.Module):
    """Multi-head attention; softmax(QKᵀ + bias)V, not scaled by √head_dim: T5 leaves
    that to the initialization of the queries.
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
        config = self.config
        width = config.num_heads * config.head_dim

        def heads(
            name: str, x: jax.Array, init: Initializer = _attention_fan_in
        ) -> jax.Array:
            """[batch, length, emb_dim] -> [batch, heads, length, head_dim]."""
            x = _Linear(width, ("embed", "joined_kv"), config.dtype, init, name=name)(x)
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
        weights = _dropout(config)(weights, deterministic)
        x = (weights @ value).swapaxes(1, 2)
        return _Linear(
            queries_from.shape[-1],
            ("joined_kv", "embed"),
            config.dtype,
            _attention_fan_in,
            name="out",
        )(x.reshape(*x.shape[:2], width))

    def _cached(
        self,
        key: Float[Array, "batch heads length head_dim"],
        value: Float[Array, "batch heads length head_dim"],
        mask: Bool[Array, "batch 1 1 keys"] | None,
        bias: Float[Array, "1 heads length length"] | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
        """Keys and values of this token and those before it; what of them is seen.

        The first call makes the cache, [batch, heads, head_dim, length] as in T5X,
        whose beam search reorders it; the later ones hand over one token each.
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
        # A sum instead of a scatter: cheap on TPUs, and the cache starts as zeros.
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


class _FeedForward(nn.Module):
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
            y = _Linear(config.mlp_dim, ("embed", "mlp"), config.dtype, name=name)(x)
            if activation != "linear":
                y = getattr(nn, activation)(y)
            branches.append(y)
        y = functools.reduce(operator.mul, branches)
        y = _dropout(config)(y, deterministic)
        y = with_sharding_constraint(y, ("batch", "length", "mlp"))
        return _Linear(x.shape[-1], ("mlp", "embed"), config.dtype, name="wo")(y)


class _RelativePositionBias(nn.Module):
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
    """Returns the bucket of every pair (query, key), in [0, 32).

    Half of the buckets are for single distances, the others grow logarithmically up
    to distance 128; with `bidirectional` half of each is for keys behind the query and
    half for those before it, otherwise all are for keys before it.
    (Raffel et al. 2020, section 2.1.)
    """
    position = np.arange(length)
    behind = position[None, :] - position[:, None]
    offset = np.zeros_like(behind)
    buckets = _BUCKETS
    if bidirectional:
        buckets //= 2
        offset = np.where(behind > 0, buckets, 0)
        distance = np.abs(behind)
    else:
        distance = np.maximum(-behind, 0)
    exact = buckets // 2
    # In float32, as the models were trained: a rounding decides at some borders.
    ratio = np.maximum(distance, exact).astype(np.float32) / np.float32(exact)
    growth = np.log(ratio + np.finfo(np.float32).eps) / np.log(_MAX_DISTANCE / exact)
    logarithmic = exact + (growth * (buckets - exact)).astype(np.int64)
    logarithmic = np.minimum(logarithmic, buckets - 1)
    return offset + np.where(distance < exact, distance, logarithmic)


class _RMSNorm(nn.Module):
    """x / √(mean(x²) + 1e-6) · scale, computed in float32."""

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


class _Linear(nn.Module):
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


@functools.cache
def _query_init(head_dim: int) -> Initializer:
    """Cached, so that equal modules compare equal and nothing is compiled twice."""
    return lambda *args: _attention_fan_in(*args) / math.sqrt(head_dim)


def _dropout(config: T5Config, broadcast_dims: Sequence[int] = (-2,)) -> nn.Dropout:
    """T5 drops whole positions' features alike: one mask along the length."""
    return nn.Dropout(rate=config.dropout_rate, broadcast_dims=broadcast_dims)
