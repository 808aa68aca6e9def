"""A network with one hidden layer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.maps.base import Map

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Network(Map):
    """Dense → ReLU → Dense. NumPy computes it in float64, so that a network gives the
    same bits right after training and when it is loaded on a machine without JAX.

    Attributes:
      hidden_kernel: [source_dim, hidden].
      hidden_bias: [hidden].
      output_kernel: [hidden, target_dim].
      output_bias: [target_dim].
    """

    kind = "network"

    hidden_kernel: Float[np.ndarray, "source_dim hidden"]
    hidden_bias: Float[np.ndarray, " hidden"]
    output_kernel: Float[np.ndarray, "hidden target_dim"]
    output_bias: Float[np.ndarray, " target_dim"]

    @property
    def source_dim(self) -> int:
        return len(self.hidden_kernel)

    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        hidden_kernel, hidden_bias, output_kernel, output_bias = (
            array.astype(np.float64)
            for array in (
                self.hidden_kernel,
                self.hidden_bias,
                self.output_kernel,
                self.output_bias,
            )
        )
        hidden = np.maximum(vectors @ hidden_kernel + hidden_bias, 0)
        return hidden @ output_kernel + output_bias
