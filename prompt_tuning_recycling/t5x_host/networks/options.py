"""The options of this package's network that T5X's networks have, too."""

from __future__ import annotations

from typing import Any

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.network import T5Config

_SHARED = (
    "vocab_size",
    "dtype",
    "emb_dim",
    "num_heads",
    "head_dim",
    "mlp_dim",
    "mlp_activations",
    "dropout_rate",
    "logits_via_embedding",
)


def shared_options(config: T5Config) -> dict[str, Any]:
    """Returns the options by name, but for the numbers of layers.

    Raises:
      RecyclingError: an option is set that T5X's networks do not have.
    """
    if config.float32_attention_logits:
        raise RecyclingError(
            "network.T5Config.float32_attention_logits is set, but T5X's own networks "
            "have no such option. Leave it out, or set DTYPE = 'float32'."
        )
    return {name: getattr(config, name) for name in _SHARED}
