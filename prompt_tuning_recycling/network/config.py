"""Sizes and options of the network."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import gin


@gin.register
@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes and options of the network, named as in T5X's own `T5Config`.

    Attributes:
      vocab_size: rows of the embedding table, including padding.
      dtype: dtype of the activations. Parameters and logits are always float32.
      emb_dim: width of the model, and of its prompt.
      num_heads: attention heads in each layer.
      num_encoder_layers: layers of the encoder.
      num_decoder_layers: layers of the decoder.
      head_dim: width of an attention head.
      mlp_dim: width of the feed-forward layers.
      mlp_activations: activation of each branch of a feed-forward layer; the branches
        are multiplied. `("gelu", "linear")` is T5 1.1's gated GELU, `("relu",)` is
        T5 1.0.
      dropout_rate: share of the activations that training drops, in [0, 1).
      logits_via_embedding: whether the output layer is the embedding table, as in
        T5 1.0, instead of a matrix of its own, as in T5 1.1.
      float32_attention_logits: whether attention logits and their softmax are computed
        in float32 even if `dtype` is narrower.
      prompt_length: number of vectors in the soft prompt, which precedes the encoder's
        input; 0 for a model without a prompt.
      embedding_scale: standard deviation of the values of a new embedding table.
      one_hot_embedding: whether to look up embeddings by a product with one-hot
        vectors instead of by index. The embeddings are the same; this is cheaper if
        the table is split over devices.
    """

    # Gin files bind it by this name, and the configuration that gin writes names it so.
    __module__ = "prompt_tuning_recycling.network"

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
        # Gin passes lists, which Flax cannot hash.
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
