"""The encoder, the decoder, and the network that joins them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import gin
import jax.numpy as jnp
from flax import linen as nn

from prompt_tuning_recycling.network.attention import Attention, RelativePositionBias
from prompt_tuning_recycling.network.config import T5Config
from prompt_tuning_recycling.network.layers import (
    Embedding,
    FeedForward,
    Linear,
    RMSNorm,
    make_dropout,
)
from prompt_tuning_recycling.network.prompt import PrependPrompt

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int


@gin.register
class Transformer(nn.Module):
    """The encoder and the decoder, which share one embedding table.

    Attributes:
      config: sizes and options.
    """

    # Gin files bind it by this name, and the configuration that gin writes names it so.
    __module__ = "prompt_tuning_recycling.network"

    config: T5Config

    def setup(self) -> None:
        self.token_embedder = Embedding(self.config)
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
        """Returns the logits of every target token, float32.

        Args:
          encoder_input_tokens: the inputs; 0 is padding, which no token sees.
          decoder_input_tokens: the targets shifted right by one, after a 0.
          decoder_target_tokens: the targets; 0 is padding.
          encoder_segment_ids: which example of a packed row each input token belongs
            to. Packing works only without a prompt.
          decoder_segment_ids: the same for the target tokens.
          encoder_positions: unused, since positions are relative; T5X passes them.
          decoder_positions: unused.
          enable_dropout: whether to apply dropout, which needs a `dropout` random
            stream if its rate is not 0.
          decode: whether to make an empty decoding cache of the targets' length.

        Raises:
          ValueError: packed examples have a prompt, or lack segment ids.
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
        """Returns the encoder's output: the prompt's positions, then the inputs'.

        The arguments are those of `__call__`.

        Raises:
          ValueError: the examples are packed, but there is a prompt.
        """
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
        """Returns the logits of the targets, float32, given the encoder's output.

        Args:
          encoded: what `encode` returned.
          encoder_input_tokens: the inputs again, which show what is padding.
          decoder_input_tokens: as in `__call__`; with a cache, one token: [batch, 1].
          decoder_target_tokens: as in `__call__`.
          encoder_segment_ids: as in `__call__`; None if `decode`.
          decoder_segment_ids: as in `__call__`; None if `decode`.
          decoder_positions: unused.
          enable_dropout: as in `__call__`.
          decode: whether to use the cache of earlier tokens (the collection `cache`),
            or to make one if there is none.
          max_decode_length: length of the cache in use.

        Raises:
          ValueError: packed examples are decoded or lack the targets' segment ids, or
            several tokens are decoded at once with a cache.
        """
        del decoder_positions
        inputs_visible = self._visible(encoder_input_tokens)[:, None, None, :]
        if decode:
            if encoder_segment_ids is not None:
                raise ValueError("packed examples cannot be decoded token by token.")
            # The cache's own index hides what follows the current token.
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
        """Returns which positions of the encoder are not padding."""
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
            x = PrependPrompt(config.prompt_length, config.dtype, name="prompt")(x)
        x = make_dropout(config)(x, deterministic).astype(config.dtype)
        bias = RelativePositionBias(config, bidirectional=True, name="relpos_bias")(
            x.shape[1]
        )
        for index in range(config.num_encoder_layers):
            x = _EncoderLayer(config, name=f"layers_{index}")(
                x, bias, mask, deterministic
            )
        x = RMSNorm(config, name="encoder_norm")(x)
        return make_dropout(config, broadcast_dims=())(x, deterministic)


class _Decoder(nn.Module):
    config: T5Config

    def setup(self) -> None:
        config = self.config
        self.relpos_bias = RelativePositionBias(config, bidirectional=False)
        self.layers = [_DecoderLayer(config) for _ in range(config.num_decoder_layers)]
        self.decoder_norm = RMSNorm(config)
        if not config.logits_via_embedding:
            # In float32, for the precision of the softmax.
            self.logits_dense = Linear(
                config.vocab_size, ("embed", "vocab"), dtype="float32"
            )
        self.dropout = make_dropout(config)

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
        dropout = make_dropout(self.config)
        y = RMSNorm(self.config, name="pre_attention_layer_norm")(x)
        y = Attention(self.config, name="attention")(y, y, mask, bias, deterministic)
        x = x + dropout(y, deterministic)
        y = RMSNorm(self.config, name="pre_mlp_layer_norm")(x)
        y = FeedForward(self.config, name="mlp")(y, deterministic)
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
        dropout = make_dropout(config)
        y = RMSNorm(config, name="pre_self_attention_layer_norm")(x)
        y = Attention(config, name="self_attention")(
            y, y, mask, bias, deterministic, decode=decode
        )
        x = x + dropout(y, deterministic)
        y = RMSNorm(config, name="pre_cross_attention_layer_norm")(x)
        y = Attention(config, name="encoder_decoder_attention")(
            y, encoded, cross_mask, None, deterministic
        )
        x = x + dropout(y, deterministic)
        y = RMSNorm(config, name="pre_mlp_layer_norm")(x)
        y = FeedForward(config, name="mlp")(y, deterministic)
        return x + dropout(y, deterministic)
