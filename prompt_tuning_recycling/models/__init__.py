"""Models on disk: what format they are in (`formats`), what the names in them mean
(`layouts`), and how they are opened.
"""

from prompt_tuning_recycling.models.model import Model, Origin, StoredArray, open_model
from prompt_tuning_recycling.models.opening import open_checkpoint, read_places

__all__ = [
    "Model",
    "Origin",
    "StoredArray",
    "open_checkpoint",
    "open_model",
    "read_places",
]
