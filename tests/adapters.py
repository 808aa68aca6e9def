"""Adapters as PEFT writes them, with the safetensors library."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import safetensors.numpy

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def write_adapter(
    folder: pathlib.Path,
    tensors: dict[str, np.ndarray],
    length: int,
    **config: Any,
) -> pathlib.Path:
    """Writes an adapter by prompt tuning of an encoder-decoder.

    Args:
      folder: a new folder.
      tensors: those of the file.
      length: `num_virtual_tokens`.
      config: what its description says otherwise; None leaves an entry out.
    """
    described = {
        "base_model_name_or_path": None,
        "inference_mode": True,
        "num_transformer_submodules": 2,
        "num_virtual_tokens": length,
        "peft_type": "PROMPT_TUNING",
        "task_type": "SEQ_2_SEQ_LM",
        "token_dim": next(iter(tensors.values())).shape[-1],
        **config,
    }
    folder.mkdir(parents=True)
    kept = {key: value for key, value in described.items() if value is not None}
    (folder / CONFIG).write_text(json.dumps(kept))
    data = safetensors.numpy.save(tensors, {"format": "pt"})
    (folder / WEIGHTS).write_bytes(data)
    return folder


def of_encoder(prompt: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of an encoder-decoder's prompt; the second half is another one."""
    return {"prompt_embeddings": np.concatenate([prompt, prompt + 7])}


def of_tasks(rng: np.random.Generator, rows: int, width: int) -> dict[str, np.ndarray]:
    """The tensors of a prompt that three tasks share."""
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in {
            "prompt_embeddings": (rows, width),
            "prefix_task_cols": (3, rows, 2),
            "prefix_task_rows": (3, 2, width),
        }.items()
    }
