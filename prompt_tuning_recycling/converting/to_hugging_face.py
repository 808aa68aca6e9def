"""From a checkpoint of T5X to a folder of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from prompt_tuning_recycling.converting import parameters, vocabularies
from prompt_tuning_recycling.converting.folders import new_folder
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.json_files import json_text
from prompt_tuning_recycling.models import Model, StoredArray
from prompt_tuning_recycling.models.formats import safetensors_writing
from prompt_tuning_recycling.models.layouts.hugging_face import t5_made
from prompt_tuning_recycling.models.layouts.hugging_face.t5 import ACTIVATIONS
from prompt_tuning_recycling.network import T5Config, told_sizes
from prompt_tuning_recycling.prompts.export import matches

_SENTENCEPIECE = (".model", "spiece.model")


def write(
    model: Model,
    path: epath.PathLike,
    dtype: np.dtype | None,
    *,
    activation: str | None,
    largest: int,
    drop_prompts: bool,
) -> tuple[T5Config, int, int, tuple[str, ...]]:
    """Writes a folder; see `conversion.convert`.

    Returns:
      The network, the number of its parameters and of files, and notes.
    """
    found, notes = _without_prompts(model, drop_prompts)
    config = _config(found, activation, str(model.path))
    parameters.check(config, found, str(model.path))
    divides = config.logits_via_embedding
    has_output = not divides and not parameters.is_its_table(model)
    if not divides and not has_output:
        del found[t5_made.OUTPUT]
        notes.append(
            "its output layer is a copy of the table, which transformers from version "
            "5 on makes itself; older versions would also scale it"
        )
    if activation is None:
        name = t5_made.activation_name(tuple(config.mlp_activations))
        notes.append(
            f"the activation is taken to be {name}, which the checkpoint does not say "
            "(--activation)"
        )
    arrays = []
    for name, array in found.items():
        stored, transposed = t5_made.stored_name(name)
        arrays.append(parameters.unwritten(array, stored, dtype, transposed=transposed))
    table = found[t5_made.EMBEDDING].dtype if dtype is None else dtype
    configuration = t5_made.configuration(
        vars(config), divides=divides, has_output=has_output, dtype=table.name
    )
    with new_folder(path) as folder, model.unchanged():
        files = safetensors_writing.write(folder, arrays, largest)
        for name, content in (
            ("config.json", configuration),
            ("generation_config.json", t5_made.tokens()),
        ):
            (folder / name).write_bytes(json_text(content).encode())
        if (file := vocabularies.file_of(model)) is not None:
            ending, usual = _SENTENCEPIECE
            new_name = usual if file.name.endswith(ending) else file.name
            vocabularies.copy(file, folder, new_name)
    return config, len(arrays), files, tuple(notes)


def _without_prompts(
    model: Model, drop: bool
) -> tuple[dict[str, StoredArray], list[str]]:
    prompts = [name for name in model.parameters if matches(name)]
    if prompts and not drop:
        raise RecyclingError(
            f"{model.path} holds a prompt, {prompts[0]}, which a T5 model of Hugging "
            "Face has no place for. --drop_prompts leaves it out; run_recycle reads it "
            "from this checkpoint."
        )
    rest = {name: a for name, a in model.parameters.items() if name not in prompts}
    return rest, [f"the prompt {name} is left out" for name in prompts]


def _config(
    found: Mapping[str, StoredArray], activation: str | None, where: str
) -> T5Config:
    branches = ACTIVATIONS.get(activation or "gated-gelu")
    if branches is None:
        raise RecyclingError(
            f"--activation: expected one of {', '.join(ACTIVATIONS)}, found "
            f"{activation!r}."
        )
    shapes = {name: array.shape for name, array in found.items()}
    try:
        sizes: dict[str, Any] = {"mlp_activations": branches}
        sizes |= told_sizes(shapes, T5Config(mlp_activations=branches))
    except (KeyError, ValueError, IndexError) as error:
        raise RecyclingError(
            f"{where} cannot be converted: expected the parameters of a T5 network "
            "whose layers are stored one by one, found none like that named "
            f"{error}. A decoder, or layers stored together (scan), cannot be."
        ) from error
    if activation is not None and sizes["mlp_activations"] != branches:
        raise RecyclingError(
            f"--activation={activation} is for feed-forward layers with "
            f"{len(branches)} branches, but those of {where} have "
            f"{len(sizes['mlp_activations'])}."
        )
    return T5Config(**sizes)
