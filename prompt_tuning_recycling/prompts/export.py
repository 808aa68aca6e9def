"""Exports a run's prompts as numpy files, where prompt-tuning puts them:
`MODEL_DIR/numpy_checkpoints/checkpoint_<step>/encoder.prompt.prompt.prompt`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from prompt_tuning_recycling.files import as_path, is_remote, sync

if TYPE_CHECKING:
    from jaxtyping import Shaped

PROMPT_REGEX = (".*/prompt/.*",)
"""Which parameters are a prompt's: prompt-tuning's own regular expression."""


def matches(name: str, patterns: Sequence[str] = PROMPT_REGEX) -> bool:
    """Whether one of the regular expressions matches a parameter's whole name; by
    default, whether it is a prompt.

    Args:
      name: such as `encoder/prompt/prompt/prompt`, with or without a slash before it.
      patterns: regular expressions.
    """
    return any(re.fullmatch(pattern, "/" + name.lstrip("/")) for pattern in patterns)


def export_prompts(
    model_dir: epath.PathLike,
    step: int,
    parameters: Mapping[str, Shaped[np.ndarray, "..."]],
) -> epath.Path:
    """Writes each parameter to a numpy file called like it, with dots for slashes.

    They go to a temporary folder that is renamed when they are on the disk, so that
    an export is whole or not there. One that exists is replaced.

    Args:
      model_dir: the run's folder.
      step: number of the step.
      parameters: name (`encoder/prompt/prompt/prompt`) -> array, saved as float32.

    Returns:
      The folder of this step's export.
    """
    folder = as_path(model_dir) / "numpy_checkpoints"
    final = folder / f"checkpoint_{step}"
    # An object store has no rename; its objects appear whole, one by one.
    temporary = final if is_remote(final) else folder / f"tmp.checkpoint_{step}"
    replaced = folder / f"old.checkpoint_{step}"
    for left in {temporary, replaced} - {final}:
        if left.exists():
            left.rmtree()
    temporary.mkdir(parents=True, exist_ok=True)
    for name, array in parameters.items():
        data = io.BytesIO()
        np.save(data, np.asarray(array, np.float32), allow_pickle=False)
        path = temporary / name.replace("/", ".")
        path.write_bytes(data.getvalue())
        sync(path)
    if temporary != final:
        sync(temporary)
        # A folder cannot take the place of one that is not empty.
        if final.exists():
            final.rename(replaced)
        temporary.rename(final)
        sync(folder)
        if replaced.exists():
            replaced.rmtree()
    return final
