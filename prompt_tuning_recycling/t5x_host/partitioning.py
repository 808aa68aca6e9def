"""How a prompt is placed on several devices: each has all of it."""

from __future__ import annotations

import gin


@gin.register(module="prompt_tuning_recycling.t5x_host.partitioning")
def prompt_axis_rules() -> tuple[tuple[str, None], ...]:
    """Returns the rules for a prompt's axes, for `additional_rules` of T5X's
    `partitioning.standard_logical_axis_rules`.

    A prompt is small compared with any layer, and is exported as one file.
    """
    return (("prompt", None), ("prompt_embed", None))
