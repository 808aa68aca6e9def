"""The configuration that a run's folder keeps, as T5X's do."""

from __future__ import annotations

import gin
from etils import epath

from prompt_tuning_recycling.files import as_path, write_atomically


def write_config(output_dir: epath.PathLike) -> None:
    """Writes gin's configuration to `output_dir/config.gin`.

    Raises:
      RecyclingError: it cannot be written.
    """
    write_atomically(as_path(output_dir) / "config.gin", gin.config_str().encode())
