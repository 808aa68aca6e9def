"""Layouts: what the names in a checkpoint mean. Each layout has its own file. No other
code knows the names of stored parameters.
"""

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.layouts.base import Layout
from prompt_tuning_recycling.models.layouts.single_array import SingleArray
from prompt_tuning_recycling.models.layouts.t5x import T5X

__all__ = ["T5X", "Layout", "SingleArray", "recognize"]

_LAYOUTS: tuple[Layout, ...] = (SingleArray(), T5X())


def recognize(checkpoint: Checkpoint) -> Layout:
    """Returns the layout that matches a checkpoint's content. If none matches, it
    returns T5X's, which then reports what the checkpoint lacks.
    """
    return next((one for one in _LAYOUTS if one.matches(checkpoint)), T5X())
