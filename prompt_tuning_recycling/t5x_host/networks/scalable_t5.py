"""T5X's `scalable_t5` (T5 1.1, mT5 and umT5 with scanned layers) with a soft prompt
before the encoder's input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gin
from t5x.examples.scalable_t5 import network

from prompt_tuning_recycling.network import T5Config
from prompt_tuning_recycling.t5x_host.networks.options import shared_options
from prompt_tuning_recycling.t5x_host.networks.prefix import (
    check_unpacked,
    prompt_before_tokens,
    visible,
)

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


class Transformer(network.Transformer):
    """T5X's network, whose parameters keep their names and shapes, and one more:
    `encoder/prompt/prompt/prompt`, float32 [prompt_length, emb_dim].

    Attributes:
      config: T5X's own `scalable_t5.network.T5Config`.
      prompt_length: how many vectors the prompt has; 0 for T5X's network as it is.
    """

    prompt_length: int = 0

    def encode(
        self,
        encoder_input_tokens: Int[Array, "batch inputs"],
        encoder_segment_ids: Int[Array, "batch inputs"] | None = None,
        enable_dropout: bool = True,
    ) -> Float[Array, "batch prompt+inputs emb_dim"]:
        """Returns the encoder's output: the prompt's positions, then the inputs'.

        Raises:
          ValueError: the examples are packed, but there is a prompt.
        """
        if not self.prompt_length:
            return super().encode(
                encoder_input_tokens, encoder_segment_ids, enable_dropout
            )
        check_unpacked(encoder_segment_ids)
        with prompt_before_tokens(self.encoder, self.prompt_length, self.config.dtype):
            return super().encode(
                visible(encoder_input_tokens, self.prompt_length),
                enable_dropout=enable_dropout,
            )

    def decode(
        self,
        encoded: Float[Array, "batch prompt+inputs emb_dim"],
        encoder_input_tokens: Int[Array, "batch inputs"],
        *arguments: Any,
        **options: Any,
    ) -> Float[Array, "batch targets vocab_size"]:
        """Returns the logits of the targets, given the encoder's output. The inputs are
        given again because they show what is padding; for the other arguments see T5X.
        """
        return super().decode(
            encoded,
            visible(encoder_input_tokens, self.prompt_length),
            *arguments,
            **options,
        )


@gin.register(module="prompt_tuning_recycling.t5x_host.networks.scalable_t5")
def of_config(config: T5Config, remat_policy: str = "minimal") -> Transformer:
    """Returns the network with the sizes and options of this package's own.

    Args:
      config: the sizes and options.
      remat_policy: what is computed again in the backward pass to save memory: `none`,
        `minimal` or `full`; see T5X.

    Raises:
      RecyclingError: T5X's network has no such option.
    """
    theirs = network.T5Config(
        **shared_options(config),
        num_encoder_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
        remat_policy=remat_policy,
    )
    return Transformer(theirs, prompt_length=config.prompt_length)
