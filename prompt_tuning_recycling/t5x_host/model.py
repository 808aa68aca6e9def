"""Which of T5X's models a network belongs to."""

from __future__ import annotations

from collections.abc import Callable

import gin
from flax import linen as nn
from t5x import models


@gin.register(module="prompt_tuning_recycling.t5x_host.model")
def of_network(
    module: nn.Module,
    encoder_decoder: Callable[..., models.BaseTransformerModel],
    decoder_only: Callable[..., models.BaseTransformerModel],
) -> models.BaseTransformerModel:
    """Returns T5X's model with a network.

    Args:
      module: the network. T5X encodes with one that has an encoder through its method
        `encode`.
      encoder_decoder: makes the model of a network with that method.
      decoder_only: makes the model of one without it.
    """
    make = encoder_decoder if hasattr(module, "encode") else decoder_only
    return make(module=module)
