"""From a T5 of Hugging Face to a checkpoint of T5X."""

from __future__ import annotations

import os

import numpy as np
from etils import epath

from prompt_tuning_recycling.converting import parameters, vocabularies
from prompt_tuning_recycling.converting.folders import new_folder
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.models.formats import orbax_writing
from prompt_tuning_recycling.models.formats.writing import Unwritten
from prompt_tuning_recycling.models.layouts.hugging_face.t5_made import OUTPUT
from prompt_tuning_recycling.models.layouts.t5x import PARAMETERS, STEP
from prompt_tuning_recycling.network import T5Config

_STEP_DTYPE = np.dtype(np.int32)


def write(
    model: Model, path: epath.PathLike, step: int, dtype: np.dtype | None
) -> tuple[T5Config, int, tuple[str, ...]]:
    """Writes a step; see `conversion.convert`.

    Returns:
      The network, the number of its parameters, and notes.
    """
    sizes = model.network_sizes
    if sizes is None:
        raise RecyclingError(
            f"{model.path} has no config.json beside it, which says whether the output "
            "layer is scaled, and what the activation is. Copy or download it, too."
        )
    if not 0 <= step <= np.iinfo(_STEP_DTYPE).max:
        raise RecyclingError(
            f"--step: expected a number from 0 to {np.iinfo(_STEP_DTYPE).max}, found "
            f"{step}."
        )
    found, notes = dict(model.parameters), []
    config = T5Config(**sizes)
    parameters.check(config, found, str(model.path))
    if OUTPUT in found and found[OUTPUT].scale != 1:
        if parameters.is_its_table(model):
            del found[OUTPUT]
            config = T5Config(**{**sizes, "logits_via_embedding": True})
            notes.append("its output layer is a copy of the table, which is left out")
        else:
            notes.append(
                "its output layer is multiplied by 1/sqrt(width), which T5X does not do"
            )
    elif OUTPUT in found and parameters.is_its_table(model):
        notes.append(
            "its output layer is the embedding table without a factor; T5X has no such "
            "layer, so a copy of the table is written"
        )
    arrays = [
        parameters.unwritten(array, PARAMETERS + name, dtype)
        for name, array in found.items()
    ]
    number = Unwritten(STEP, (), _STEP_DTYPE, lambda: np.asarray(step, _STEP_DTYPE))
    with new_folder(path) as folder, model.unchanged():
        orbax_writing.write(folder, [*arrays, number])
        if (file := vocabularies.file_of(model)) is not None:
            vocabularies.copy(file, folder, os.path.basename(file))
    return config, len(arrays), tuple(notes)
