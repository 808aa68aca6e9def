"""Writes prompts as adapters, which `peft.PeftModel.from_pretrained` loads.

A folder holds the prompt, PEFT's description of it, its record, and a card for people
(`README.md`). Source: https://github.com/huggingface/peft, src/peft/peft_model.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import (
    absolute,
    as_path,
    check_folder_writable,
    is_remote,
    names,
    write_folder,
)
from prompt_tuning_recycling.files.json_files import json_text
from prompt_tuning_recycling.files.writing import PROBE
from prompt_tuning_recycling.models import Model, Origin, adapter_config, open_model
from prompt_tuning_recycling.models.formats.safetensors import (
    ADAPTER,
    SafetensorsCheckpoint,
)
from prompt_tuning_recycling.models.layouts.hugging_face.adapter import PROMPT
from prompt_tuning_recycling.prompts.prompt import ADAPTER_RECORD, Prompt
from prompt_tuning_recycling.records.text import record_text

_CARD = "README.md"
_FILES = {ADAPTER, adapter_config.NAME, ADAPTER_RECORD, _CARD}
_CLASSES = {"encoder": "AutoModelForSeq2SeqLM", "decoder": "AutoModelForCausalLM"}


def save_adapter(prompt: Prompt, folder: epath.PathLike, target: Origin) -> None:
    """Writes a prompt as an adapter, as float32, whole or not at all.

    For an encoder-decoder, the file holds the prompt twice, one after the other. PEFT
    expects a second one there and does not use it.

    Args:
      prompt: the prompt, [length, width].
      folder: the folder to write; an earlier adapter of this package is replaced.
      target: the model that the prompt is for.

    Raises:
      RecyclingError: the model's kind is not known, the prompt has another width, or
        the folder holds something else or cannot be written.
    """
    target = open_model(target)
    site = check_adapter(folder, target)
    length, width = prompt.array.shape
    if target.has_embeddings and width != target.embeddings.shape[1]:
        raise RecyclingError(
            f"the prompt has width {width}, but {target.path} has embeddings of width "
            f"{target.embeddings.shape[1]}. Give the model that the prompt is for."
        )
    base = _loadable(target)
    array = np.ascontiguousarray(prompt.array, np.float32)
    stored = np.concatenate([array, array]) if site == "encoder" else array
    data = safetensors.numpy.save({PROMPT: stored}, {"format": "pt"})
    record = {**prompt.record, "file_sha256": hashlib.sha256(data).hexdigest()}
    config = adapter_config.described(site, length, width, base)
    texts = {
        ADAPTER_RECORD: json_text(record),
        _CARD: _card(prompt.record, site, length, base),
        adapter_config.NAME: json_text(config),
    }
    files = {name: text.encode() for name, text in texts.items()}
    write_folder(folder, {ADAPTER: data, **files})


def check_adapter(folder: epath.PathLike, target: Model) -> str:
    """Returns the site of the prompt of an adapter for a model.

    Call it before long work whose result `save_adapter` writes.

    Raises:
      RecyclingError: the model's kind is not known, or the folder holds something else
        than an earlier adapter of this package or cannot be written.
    """
    check_folder_writable(folder)
    path = as_path(folder)
    held = {name for name in names(path) if not name.startswith(PROBE)}
    if held and (held - _FILES or ADAPTER_RECORD not in held):
        raise RecyclingError(
            f"cannot write an adapter to {path}: the folder holds "
            f"{min(held - _FILES, default=ADAPTER)}, which would be lost. Expected a "
            "new or empty folder, or an adapter that this package wrote. Choose "
            "another output path."
        )
    site = target.site
    if site is None:
        raise RecyclingError(
            f"cannot write an adapter for {target.path}: it is not known whether the "
            f"model is an encoder-decoder or a decoder ({target.checkpoint.format}). "
            "Give the model's folder or checkpoint as the target instead, or write the "
            "prompt as a numpy file (--output_format=numpy)."
        )
    return site


def _loadable(target: Model) -> str | None:
    """Returns the path of a model that transformers can load, or None."""
    path = target.path
    if is_remote(path) or not isinstance(target.checkpoint, SafetensorsCheckpoint):
        return None
    folder = path if path.is_dir() else path.parent
    return absolute(folder) if (folder / "config.json").is_file() else None


def _card(
    record: Mapping[str, Any], site: str, length: int, base: epath.PathLike | None
) -> str:
    """Returns the text of the card, in Markdown."""
    is_recycled = "recycler" in record or "mean_of" in record
    model = "a model" if base is None else f"`{os.fspath(base)}`"
    lines = ["---"]
    if base is not None:
        # A JSON string is a YAML string.
        lines.append(f"base_model: {json.dumps(os.fspath(base), ensure_ascii=False)}")
    lines += ["library_name: peft", "tags:", "- prompt-tuning"]
    if is_recycled:
        lines.append("- prompt-recycling")
    lines += [
        "---",
        "",
        f"# A {'recycled ' if is_recycled else ''}soft prompt",
        "",
        f"{length} vectors that go before the {site}'s inputs of {model}.",
    ]
    if is_recycled:
        lines += [
            "They were tuned on another model and carried over to this one by",
            "prompt_tuning_recycling, without any training on this one (Lester et al.",
            "2022, https://arxiv.org/abs/2208.05577). Evaluate them before use.",
        ]
    name = json.dumps("path/of/the/model" if base is None else os.fspath(base))
    lines += [
        "",
        "```python",
        "from peft import PeftModel",
        f"from transformers import {_CLASSES[site]}",
        "",
        f"model = {_CLASSES[site]}.from_pretrained({name})",
        'model = PeftModel.from_pretrained(model, "path/of/this/folder")',
        "```",
        "",
    ]
    if is_recycled:
        text = record_text(record)
        # The words that it names may have backticks.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        lines += ["## How it was made", "", fence, text, fence, ""]
    return "\n".join([*lines, f"`{ADAPTER_RECORD}` is the whole record.", ""])
