"""How a prompt lies on several devices: whole on each."""

from __future__ import annotations

import gin


@gin.register(module="prompt_tuning_recycling.t5x_host.partitioning")
def prompt_axis_rules() -> tuple[tuple[str, None], ...]:
    """Returns the rules for a prompt's axes, for `additional_rules` of T5X's
    `partitioning.standard_logical_axis_rules`.

    A prompt is small next to any layer, and exported as one file.
    """
    return (("prompt", None), ("prompt_embed", None))
