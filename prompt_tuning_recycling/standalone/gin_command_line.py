"""T5X's flags: gin files, and overrides as `--gin.NAME=value`."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import tokenize
from collections.abc import Callable, Sequence

import gin

from prompt_tuning_recycling import command_line, gin_search  # noqa: F401
from prompt_tuning_recycling.accelerators import check_platform
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.macros.given import given, given_names
from prompt_tuning_recycling.macros.kinds import MACROS
from prompt_tuning_recycling.standalone.default_model import default_model

# What gin raises for a line that it cannot read, and Python for a value in it.
_UNREADABLE = (
    AttributeError,
    ImportError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
_OVERRIDE = re.compile(r"--gin\.([^=]+)=(.*)", re.DOTALL)
_RUNS = {
    "train": "runs/standalone/prompt_finetune.gin",
    "eval": "runs/standalone/eval.gin",
    "infer": "runs/standalone/infer.gin",
    "evaluate_prompts": "runs/standalone/evaluate_prompts.gin",
    "choose": "runs/standalone/choose.gin",
    "teach": "runs/standalone/teach.gin",
}


_EXAMPLES = {
    "INITIAL_CHECKPOINT_PATH": "'/models/t5_1_1_base/checkpoint_1000000'",
    "MODEL_DIR": "'/runs/sst2'",
    "EVAL_OUTPUT_DIR": "'/runs/sst2-eval'",
    "INFER_OUTPUT_DIR": "'/runs/sst2-infer'",
    "CHOOSE_OUTPUT_DIR": "'/runs/sst2-chosen'",
    "TEACHER_SCORES": "'/runs/sst2-teacher.json'",
    "MIXTURE_OR_TASK_NAME": "'my_task'",
    "MIXTURE_OR_TASK_MODULE": "'my_package.my_tasks'",
    "TASK_NAME": "'reviews'",
    "TASK_FILES": "{'train': 'train.tsv', 'validation': 'dev.tsv'}",
    "TASK_FEATURE_LENGTHS": "{'inputs': 128, 'targets': 8}",
    "TRAIN_STEPS": "1_130_000",
    "PROMPT_FILE": "'/prompts/sst2.npy'",
    "PROMPT_MANIFEST": "'/sweep/manifest-sst2/target.json'",
    "CLASS_LABELS": "['negative', 'positive']",
}


def run(
    program: str,
    doc: str | None,
    load: Callable[[], Callable[[], object]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parses the flags and gin files, then calls the function that `load` returns.

    Args:
      program: the module's name, for the help.
      doc: its description.
      load: imports what is slow to import, and returns the function to call, whose
        parameters gin provides.
      arguments: the command line, sys.argv by default.

    Returns:
      The exit code of `command_line.run`.
    """
    _quieten()

    def main(arguments: Sequence[str] | None) -> None:
        flags, overrides = _parse(program, doc, arguments)
        with command_line.silent_unless_it_fails():
            function = load()
            _leave_accelerators_to_jax()
            check_platform()
        try:
            configure(flags, overrides)
            if flags.dry_run:
                print(gin.config_str())
            else:
                function()
        except RecyclingError as error:
            raise RecyclingError(command_line.without_gin(error)) from error
        except TypeError as error:
            if "No values supplied by Gin" not in str(error):
                raise
            raise RecyclingError(
                f"the gin files are not enough for {program}. Expected a model file "
                "and a run file, as in --gin_file=models/t5_1_1_base_prompt.gin "
                f"--gin_file={_RUNS[program]}; found "
                f"{', '.join(flags.gin_file) or 'none'}."
            ) from error
        finally:
            gin.clear_config()

    return command_line.run(main, arguments)


def _quieten() -> None:
    """Hides other libraries' notes on their progress, but not their errors."""
    # Seqio logs advice through absl. Gin logs each folder in which it finds no file.
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger().addFilter(
        lambda record: not record.getMessage().startswith("Path not found: ")
    )


def _leave_accelerators_to_jax() -> None:
    """TensorFlow only reads data here, but would take all of a GPU's memory."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _parse(
    program: str, doc: str | None, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    parser = command_line.parser(
        program,
        "--gin_file=FILE [--gin_file=FILE ...] [--gin.NAME=VALUE ...]",
        doc,
    )
    parser.prog = f"python -m prompt_tuning_recycling.standalone.{program}"
    parser.add_argument(
        "--gin_file",
        action="append",
        default=[],
        help="a gin file; later ones override earlier ones. It is looked for here, in "
        "--gin_search_paths, and among the package's own",
    )
    parser.add_argument(
        "--gin_search_paths",
        default="",
        help="folders in which to look for gin files, separated by commas",
    )
    parser.add_argument(
        "--gin_bindings",
        action="append",
        default=[],
        help="a line of gin; --gin.NAME=VALUE means the same as "
        "--gin_bindings='NAME = VALUE'",
    )
    parser.add_argument(
        "--tfds_data_dir", help="where TensorFlow Datasets keeps its data"
    )
    parser.add_argument(
        "--seqio_additional_cache_dirs",
        default="",
        help="folders with data that seqio has cached, separated by commas",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print the configuration, do nothing"
    )
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    overrides = [match for match in map(_OVERRIDE.fullmatch, arguments) if match]
    rest = [argument for argument in arguments if not _OVERRIDE.fullmatch(argument)]
    flags = parser.parse_args(rest)
    lines = [f"{match[1].strip()} = {match[2]}" for match in overrides]
    return flags, [*flags.gin_bindings, *lines]


def configure(flags: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Passes the files and overrides to gin.

    Raises:
      RecyclingError: a file is missing, gin cannot read a line, nothing uses a macro,
        or a required macro is not set.
    """
    import seqio

    if flags.tfds_data_dir:
        seqio.set_tfds_data_dir_override(os.fspath(as_path(flags.tfds_data_dir)))
    if flags.seqio_additional_cache_dirs:
        seqio.add_global_cache_dirs(_paths(flags.seqio_additional_cache_dirs))
    for path in [*_paths(flags.gin_search_paths), gin_path()]:
        gin.add_config_file_search_path(path)
    files = [os.fspath(as_path(file)) for file in flags.gin_file]
    _parse_gin(files, overrides)
    model_file = default_model()
    if model_file is not None:
        # Before the others, so that they and the overrides change what it sets.
        _parse_gin([model_file, *files], overrides)
    try:
        # This checks the macros' values, because the run files import `macros`.
        with given(overrides):
            _check_required()
            gin.finalize()
    except RecyclingError:
        raise
    except ValueError as error:
        raise RecyclingError(f"the gin files leave something open: {error}") from error


def _parse_gin(files: Sequence[str], overrides: Sequence[str]) -> None:
    gin.clear_config()
    for name in files:
        try:
            gin.parse_config_file(name)
        except OSError as error:
            raise RecyclingError(_no_such_file(name, error)) from error
        except _UNREADABLE as error:
            raise RecyclingError(f"cannot use the gin file {name}: {error}") from error
    for line in overrides:
        try:
            gin.parse_config(line)
        except _UNREADABLE as error:
            raise RecyclingError(_bad_override(line, error)) from error


def _paths(separated_by_commas: str) -> list[str]:
    """Returns the paths with `~` expanded, since gin and seqio do not expand it."""
    return [
        os.fspath(as_path(path))
        for path in separated_by_commas.split(",")
        if path.strip()
    ]


def _no_such_file(name: str, error: OSError) -> str:
    folder = gin_path()
    known = [
        os.path.relpath(os.path.join(where, file), folder)
        for where, _, files in os.walk(folder)
        for file in files
    ]
    if str(name) not in str(error):
        return f"the gin file {name} includes one that does not exist: {error}."
    return f"there is no gin file {name}." + did_you_mean(name, known)


def _bad_override(line: str, error: Exception) -> str:
    name, _, value = (part.strip() for part in line.partition("="))
    if isinstance(error, SyntaxError) and re.fullmatch(r"[\w./:@~-]+", value):
        return (
            f"cannot read the value of {name}, {value}. A text needs quotes that the "
            f"shell leaves in place: --gin.{name}=\"'{value}'\""
        )
    return f"cannot use {line!r}: {error}"


def _check_required() -> None:
    # Gin's printed configuration is the only public way to learn what the files use.
    text = gin.config_str()
    used = set(re.findall(r"%([A-Z][A-Z0-9_]*)", text))
    for name in sorted(used):
        if not re.search(rf"^{name} = %gin.REQUIRED$", text, re.MULTILINE):
            continue
        for misspelt in given_names() - used - MACROS.keys():
            raise RecyclingError(
                f"nothing in these gin files uses {misspelt}."
                + did_you_mean(misspelt, used)
            )
        example = _EXAMPLES.get(name, "...")
        raise RecyclingError(
            f'{name} is not set, but must be, as in --gin.{name}="{example}".'
        )
