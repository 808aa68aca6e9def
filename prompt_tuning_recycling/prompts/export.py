"""Exports a run's prompts as numpy files to the place where prompt-tuning does:
`MODEL_DIR/numpy_checkpoints/checkpoint_<step>/encoder.prompt.prompt.prompt`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from prompt_tuning_recycling.files import (
    as_path,
    is_remote,
    write_folder,
    write_together,
)

if TYPE_CHECKING:
    from jaxtyping import Shaped

PROMPT_REGEX = (".*/prompt/.*",)
"""Matches the parameters that are prompts. It is prompt-tuning's own expression."""


def matches(name: str, patterns: Sequence[str] = PROMPT_REGEX) -> bool:
    """Returns whether one of the regular expressions matches a parameter's whole name;
    by default, whether the parameter is a prompt.

    Args:
      name: such as `encoder/prompt/prompt/prompt`, with or without a leading slash.
      patterns: regular expressions.
    """
    return any(re.fullmatch(pattern, "/" + name.lstrip("/")) for pattern in patterns)


def export_prompts(
    model_dir: epath.PathLike,
    step: int,
    parameters: Mapping[str, Shaped[np.ndarray, "..."]],
) -> epath.Path:
    """Writes each parameter to a numpy file of its name, with dots for slashes.

    An export is either whole or absent, except on an object store, where each prompt
    is. An existing export is replaced.

    Args:
      model_dir: the run's folder.
      step: the number of the step.
      parameters: name (`encoder/prompt/prompt/prompt`) -> array, saved as float32.

    Returns:
      The folder of this step's export.

    Raises:
      RecyclingError: it cannot be written. An existing export is what it was.
    """
    folder = as_path(model_dir) / "numpy_checkpoints" / f"checkpoint_{step}"
    files = {
        name.replace("/", "."): _bytes(array) for name, array in parameters.items()
    }
    if is_remote(folder):
        write_together({folder / name: data for name, data in files.items()})
    else:
        write_folder(folder, files)
    return folder


def _bytes(array: Shaped[np.ndarray, "..."]) -> bytes:
    data = io.BytesIO()
    np.save(data, np.asarray(array, np.float32), allow_pickle=False)
    return data.getvalue()
