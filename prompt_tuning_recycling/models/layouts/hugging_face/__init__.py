"""Models that transformers saved, and prompts that PEFT saved.

`model_type` in the `config.json` beside the tensors says which kind a model is; a
multimodal model's `text_config` says it of its text part.
Names and configurations: https://github.com/huggingface/transformers, models/.
"""

from __future__ import annotations

from typing import Any

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import is_folder
from prompt_tuning_recycling.files.json_files import read_json
from prompt_tuning_recycling.models import adapter_config
from prompt_tuning_recycling.models.formats.base import Checkpoint
from prompt_tuning_recycling.models.formats.safetensors import SafetensorsCheckpoint
from prompt_tuning_recycling.models.layouts.base import Layout
from prompt_tuning_recycling.models.layouts.hugging_face.adapter import Adapter
from prompt_tuning_recycling.models.layouts.hugging_face.decoder import (
    ENDINGS,
    HuggingFaceDecoder,
)
from prompt_tuning_recycling.models.layouts.hugging_face.t5 import (
    TYPES,
    HuggingFaceT5,
    looks_like_t5,
)
from prompt_tuning_recycling.models.layouts.hugging_face.unknown import Unknown

_CONFIG = "config.json"


def recognize(checkpoint: SafetensorsCheckpoint) -> Layout:
    """Returns the layout of a checkpoint, `Unknown` if its kind is not known.

    Raises:
      RecyclingError: its `config.json` cannot be read; or it is an adapter that is not
        a prompt among embeddings, or is damaged.
    """
    if checkpoint.path_of_adapter is not None:
        folder = checkpoint.path_of_adapter
        return Adapter(checkpoint, adapter_config.read_config(folder))
    config = _config(checkpoint)
    if config is None:
        return HuggingFaceT5(None) if looks_like_t5(checkpoint) else Unknown(None)
    text_config = config.get("text_config")
    if isinstance(text_config, dict) and "model_type" in text_config:
        config = text_config
    model_type = config.get("model_type")
    if model_type in TYPES:
        return HuggingFaceT5(config)
    if isinstance(model_type, str) and model_type in ENDINGS:
        return HuggingFaceDecoder(model_type)
    return Unknown(model_type)


def _config(checkpoint: Checkpoint) -> dict[str, Any] | None:
    folder = checkpoint.path
    if not is_folder(folder):
        folder = folder.parent
    file = folder / _CONFIG
    if not file.exists():
        return None
    config = read_json(file, "the configuration")
    if not isinstance(config, dict):
        raise RecyclingError(
            f"{file} is not a model's configuration: expected a JSON object, found "
            f"{type(config).__name__}."
        )
    return config
