"""The flags of T5X's own programs, for programs of this package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import seqio
from absl import flags
from t5x import config_utils, gin_utils

from prompt_tuning_recycling import gin_search  # noqa: F401
from prompt_tuning_recycling.command_line import explained, printable, without_gin
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, storage_errors
from prompt_tuning_recycling.gin_path import gin_path

_GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", None, "Gin files; later ones override earlier ones."
)
_GIN_BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "Single bindings.")
_GIN_SEARCH_PATHS = flags.DEFINE_list(
    "gin_search_paths", ["."], "Folders in which to look for gin files."
)
_TFDS_DATA_DIR = flags.DEFINE_string(
    "tfds_data_dir", None, "Where TensorFlow Datasets keeps its data."
)


def run(function: Callable[[], object]) -> None:
    """Reads the command line and calls a function whose parameters gin provides."""

    def main(arguments: Sequence[str]) -> None:
        del arguments
        if _TFDS_DATA_DIR.value:
            folder = os.fspath(as_path(_TFDS_DATA_DIR.value))
            seqio.set_tfds_data_dir_override(folder)
        try:
            gin_utils.parse_gin_flags(
                [*_expanded(_GIN_SEARCH_PATHS.value), gin_path()],
                _expanded(_GIN_FILE.value or ()),
                _GIN_BINDINGS.value,
            )
            function()
        except RecyclingError as error:
            sys.exit(f"error: {printable(without_gin(error))}")
        except storage_errors() as error:
            sys.exit(f"error: {printable(explained(error))}")

    config_utils.run(main)


def _expanded(paths: Sequence[str]) -> list[str]:
    return [os.fspath(as_path(path)) for path in paths]
