"""Whole T5 models from T5X's format to Hugging Face's and back, one array in memory at
a time.
"""

from prompt_tuning_recycling.converting.conversion import (
    Conversion,
    convert,
    is_hugging_face,
)

__all__ = ["Conversion", "convert", "is_hugging_face"]
