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

from prompt_tuning_recycling.files import as_path, is_remote, sync, write_together

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

    The files go to a temporary folder that is renamed when they are on the disk, so
    that an export is either whole or absent. An existing export is replaced. On an
    object store, which cannot rename, each prompt is whole or absent.

    Args:
      model_dir: the run's folder.
      step: the number of the step.
      parameters: name (`encoder/prompt/prompt/prompt`) -> array, saved as float32.

    Returns:
      The folder of this step's export.
    """
    folder = as_path(model_dir) / "numpy_checkpoints"
    final = folder / f"checkpoint_{step}"
    files = {
        name.replace("/", "."): _bytes(array) for name, array in parameters.items()
    }
    if is_remote(final):
        write_together({final / name: data for name, data in files.items()})
        return final
    temporary = folder / f"tmp.checkpoint_{step}"
    replaced = folder / f"old.checkpoint_{step}"
    for left in (temporary, replaced):
        if left.exists():
            left.rmtree()
    temporary.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (temporary / name).write_bytes(data)
        sync(temporary / name)
    sync(temporary)
    # A folder cannot be renamed to one that is not empty.
    if final.exists():
        final.rename(replaced)
    temporary.rename(final)
    sync(folder)
    if replaced.exists():
        replaced.rmtree()
    return final


def _bytes(array: Shaped[np.ndarray, "..."]) -> bytes:
    data = io.BytesIO()
    np.save(data, np.asarray(array, np.float32), allow_pickle=False)
    return data.getvalue()
