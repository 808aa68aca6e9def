"""A sweep of two small models and a prompt of each, whose files are there."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def sweep_content(tmp_path, word_list, rng) -> dict[str, Any]:
    """The sweep's configuration."""
    prompts = {}
    for model in "ab":
        np.save(tmp_path / f"{model}.npy", rng.normal(size=(384, 6)).astype(np.float32))
        folder = tmp_path / "tuned" / model / "numpy_checkpoints" / "checkpoint_5"
        folder.mkdir(parents=True)
        with (folder / "encoder.prompt.prompt.prompt").open("wb") as file:
            np.save(file, rng.normal(size=(2, 6)).astype(np.float32))
        prompts[model] = {"init": {"run": str(tmp_path / "tuned" / model)}}
    words = {"word_list_path": str(word_list), "num_words": 50, "word_offset": 0}
    return {
        "root_dir": str(tmp_path / "sweep"),
        "dataset": "toy",
        "task_name": "toy",
        "steps": [5],
        "load_embeddings": {"default": words},
        "recycling_methods": {"v2v-lin": {}},
        "pretrained": {model: str(tmp_path / f"{model}.npy") for model in "ab"},
        "prompts": prompts,
    }


@pytest.fixture
def sweep_config(sweep_content, tmp_path) -> pathlib.Path:
    """The file of the sweep's configuration."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(sweep_content))
    return path
