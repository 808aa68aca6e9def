"""T5X's `decoder_only` with a soft prompt before the tokens.

As in prompt-tuning's decoder-only models, the prompt precedes all tokens, the first one
(0) included; in a prefix language model it belongs to the prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gin

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.network import T5Config
from prompt_tuning_recycling.t5x_host.networks.options import shared_options
from prompt_tuning_recycling.t5x_host.networks.prefix import (
    check_unpacked,
    prompt_before_tokens,
    visible,
)

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

try:
    from t5x.examples.decoder_only import network
except ImportError as error:
    raise RecyclingError(
        f"{error}. A T5X that pip has built lacks the Python files of "
        "t5x/examples/decoder_only, network.py and layers.py. Clone T5X's repository "
        "and install it from there with pip install --no-deps -e, or put the clone "
        "first in PYTHONPATH."
    ) from error


class Decoder(network.DecoderWrapper):
    """T5X's network, whose parameters keep their names and shapes, and one more:
    `decoder/prompt/prompt/prompt`, float32 [prompt_length, emb_dim].

    The prompt's positions count in the masks, in the relative positions and in the
    decoding cache. They have no logits, so T5X's `DecoderOnlyModel` needs no change.

    Attributes:
      config: T5X's own `decoder_only.network.TransformerConfig`.
      prompt_length: how many vectors the prompt has; 0 for T5X's network as it is.
    """

    prompt_length: int = 0

    def __call__(
        self,
        decoder_input_tokens: Int[Array, "batch tokens"],
        decoder_target_tokens: Int[Array, "batch tokens"],
        decoder_segment_ids: Int[Array, "batch tokens"] | None = None,
        decoder_positions: Int[Array, "batch tokens"] | None = None,
        decoder_causal_attention: Int[Array, "batch tokens"] | None = None,
        *,
        decode: bool = False,
        max_decode_length: int | None = None,
        prefill_lengths: Int[Array, " batch"] | None = None,
        **options: Any,
    ) -> Float[Array, "batch tokens vocab_size"]:
        """Returns the logits of every token. The arguments are those of T5X's network,
        and do not count the prompt.

        Raises:
          ValueError: the examples are packed, but there is a prompt.
        """
        length = self.prompt_length
        if length:
            check_unpacked(decoder_segment_ids)
            if max_decode_length is not None:
                max_decode_length += length
            if prefill_lengths is not None:
                prefill_lengths += length
        # A token that continues what is in the cache has the prompt there.
        is_continued = decode and bool(self.variables.get("cache"))
        options |= {
            "decode": decode,
            "max_decode_length": max_decode_length,
            "prefill_lengths": prefill_lengths,
        }
        if not length or is_continued:
            return super().__call__(
                decoder_input_tokens,
                decoder_target_tokens,
                decoder_segment_ids,
                decoder_positions,
                decoder_causal_attention,
                **options,
            )
        if decoder_causal_attention is not None:
            decoder_causal_attention = visible(decoder_causal_attention, length)
        with prompt_before_tokens(self.decoder, length, self.config.dtype):
            logits = super().__call__(
                visible(decoder_input_tokens, length),
                visible(decoder_target_tokens, length),
                decoder_causal_attention=decoder_causal_attention,
                **options,
            )
        return logits[:, length:]


@gin.register(module="prompt_tuning_recycling.t5x_host.networks.decoder_only")
def of_config(config: T5Config) -> Decoder:
    """Returns the network with the sizes and options of this package's own, and with as
    many layers as its decoder.

    Raises:
      RecyclingError: T5X's network has no such option.
    """
    theirs = network.TransformerConfig(
        **shared_options(config), num_layers=config.num_decoder_layers
    )
    return Decoder(theirs, prompt_length=config.prompt_length)
