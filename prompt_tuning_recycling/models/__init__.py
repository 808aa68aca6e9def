"""Models on disk: their formats (`formats`), the meaning of the names in them
(`layouts`), and how to open them.
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
