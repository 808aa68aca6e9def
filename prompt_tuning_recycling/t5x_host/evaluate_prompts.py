"""Evaluates many prompts on one model in T5X, in one job.

  python -m prompt_tuning_recycling.t5x_host.evaluate_prompts \\
    --gin_search_paths="$(python -m prompt_tuning_recycling.gin_path)" \\
    --gin_file=models/t5_1_1_base_prompt.gin \\
    --gin_file=runs/t5x/evaluate_prompts.gin --gin.NAME=VALUE ...

The flags are those of T5X's own programs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import seqio
from absl import flags
from t5x import config_utils, gin_utils

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.t5x_host.prompt_evaluation import evaluate_prompts

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


def main(arguments: Sequence[str]) -> None:
    """Runs the command line."""
    del arguments
    if _TFDS_DATA_DIR.value:
        seqio.set_tfds_data_dir_override(os.fspath(as_path(_TFDS_DATA_DIR.value)))
    try:
        gin_utils.parse_gin_flags(
            [*_expanded(_GIN_SEARCH_PATHS.value), gin_path()],
            _expanded(_GIN_FILE.value or ()),
            _GIN_BINDINGS.value,
        )
        evaluate_prompts()
    except RecyclingError as error:
        # Gin adds the functions that the error passed through to the message.
        sys.exit("error: " + str(error).split("\n  In call to configurable")[0])


def _expanded(paths: Sequence[str]) -> list[str]:
    return [os.fspath(as_path(path)) for path in paths]


if __name__ == "__main__":
    config_utils.run(main)
