"""Layouts: what the names in a checkpoint mean. Each layout has its own file. No other
code knows the names of stored parameters.
"""

from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.formats.safetensors import SafetensorsCheckpoint
from prompt_tuning_recycling.models.layouts import hugging_face
from prompt_tuning_recycling.models.layouts.base import Layout, Parameter
from prompt_tuning_recycling.models.layouts.gemma import Gemma
from prompt_tuning_recycling.models.layouts.maxtext import MaxText
from prompt_tuning_recycling.models.layouts.single_array import SingleArray
from prompt_tuning_recycling.models.layouts.t5x import T5X

__all__ = [
    "T5X",
    "Gemma",
    "Layout",
    "MaxText",
    "Parameter",
    "SingleArray",
    "recognize",
]

_LAYOUTS: tuple[Layout, ...] = (SingleArray(), T5X(), MaxText(), Gemma())


def recognize(checkpoint: Checkpoint) -> Layout:
    """Returns the layout that matches a checkpoint's content. If none matches, it
    returns one that reports what the checkpoint lacks.

    Raises:
      RecyclingError: the checkpoint's configuration cannot be read.
    """
    if isinstance(checkpoint, SafetensorsCheckpoint):
        return hugging_face.recognize(checkpoint)
    return next((one for one in _LAYOUTS if one.matches(checkpoint)), T5X())
