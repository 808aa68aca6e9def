"""Layouts: what the names in a checkpoint mean. One file each; names of stored
parameters stand here and nowhere else.
"""

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout
from prompt_tuning_recycling.models.layouts.single_array import SingleArray
from prompt_tuning_recycling.models.layouts.t5x import T5X

__all__ = ["T5X", "Layout", "SingleArray", "recognize"]

_LAYOUTS: tuple[Layout, ...] = (SingleArray(), T5X())


def recognize(checkpoint: Checkpoint) -> Layout:
    """Returns the layout of a checkpoint, by what is in it. Where that is none of those
    known, it is T5X's, which then says what the checkpoint lacks.
    """
    return next((one for one in _LAYOUTS if one.matches(checkpoint)), T5X())
