"""Shows a few examples of a task, as text and as pieces of the vocabulary.

python -m prompt_tuning_recycling.tasks.show NAME \\
  --vocabulary_file=/data/sentencepiece.model --tfds_data_dir=/data/tfds
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import as_path

if TYPE_CHECKING:
    import seqio


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    flags = _parser().parse_args(arguments)
    if flags.examples < 0:
        raise RecyclingError(
            f"--examples: expected at least 0, found {flags.examples}."
        )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        for module in flags.module:
            with command_line.silent_unless_it_fails():
                importlib.import_module(module)
    except ImportError as error:
        raise RecyclingError(f"--module: {error}.") from error
    import gin
    import seqio

    if flags.tfds_data_dir:
        seqio.set_tfds_data_dir_override(os.fspath(as_path(flags.tfds_data_dir)))
    with gin.unlock_config():
        name = _configured(flags)
    task_or_mixture = _find(name)
    for task in seqio.get_subtasks(task_or_mixture):
        if flags.split is None or flags.split in task.splits:
            for line in _lines(task, flags):
                print(line, flush=True)
    if flags.split is not None and flags.split not in task_or_mixture.splits:
        raise RecyclingError(
            f"{name} has no split {flags.split!r}."
            + did_you_mean(flags.split, task_or_mixture.splits)
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prompt_tuning_recycling.tasks.show",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", help="a task or mixture", metavar="NAME")
    parser.add_argument("--split", help="the split (default: each task's first)")
    parser.add_argument(
        "--examples", type=int, default=3, help="how many of each task (default: 3)"
    )
    parser.add_argument(
        "--vocabulary_file",
        help="a SentencePiece model (default: T5's, on Google Cloud Storage)",
    )
    parser.add_argument(
        "--lengths",
        help="the lengths in tokens to cut the features to, as in "
        "inputs=512,targets=16 (default: features are not cut)",
    )
    parser.add_argument(
        "--tfds_data_dir", help="where TensorFlow Datasets keeps its data"
    )
    parser.add_argument(
        "--module",
        action="append",
        default=["prompt_tuning_recycling.tasks.paper"],
        help="a module that registers tasks of your own",
    )
    parser.add_argument(
        "--files",
        help="show a task from your own files instead of NAME: split=FILE,split=FILE",
    )
    parser.add_argument(
        "--verbalizers", help="with --files: the texts of the labels 0,1,... "
    )
    return parser


def _configured(flags: argparse.Namespace) -> str:
    """Passes the flags to gin and returns the task's name."""
    import gin

    from prompt_tuning_recycling.tasks import features, from_files

    if flags.vocabulary_file:
        gin.bind_parameter(
            "prompt_tuning_recycling.tasks.features.vocabulary.file",
            flags.vocabulary_file,
        )
    features.vocabulary()
    if not flags.files:
        if not flags.name:
            raise RecyclingError(
                "expected the NAME of a task or mixture, or --files. See --help."
            )
        return flags.name
    return from_files.mixture(
        flags.name or "files",
        _pairs("--files", flags.files),
        flags.verbalizers.split(",") if flags.verbalizers else None,
    )


def _pairs(flag: str, text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(separator and value for _, separator, value in pairs):
        raise RecyclingError(f"{flag}: expected name=value,name=value, found {text!r}.")
    return {name: value for name, _, value in pairs}


def _find(name: str) -> seqio.Task | seqio.Mixture:
    import seqio

    known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
    if name not in known:
        raise RecyclingError(
            f"there is no task or mixture {name!r}." + did_you_mean(name, known)
        )
    return seqio.get_mixture_or_task(name)


def _lines(task: seqio.Task, flags: argparse.Namespace) -> Iterator[str]:
    split = flags.split or next(iter(task.splits))
    lengths = None
    if flags.lengths:
        pairs = _pairs("--lengths", flags.lengths)
        try:
            lengths = {name: int(length) for name, length in pairs.items()}
        except ValueError as error:
            raise RecyclingError(
                f"--lengths: expected numbers, as in inputs=512,targets=16, found "
                f"{flags.lengths!r}."
            ) from error
    elif any(_needs_lengths(step) for step in task.preprocessors):
        lengths = {"inputs": 512, "targets": 16}
        yield f"{task.name} cuts its texts to a length: shown at inputs=512,targets=16"
    dataset = task.get_dataset(lengths, split, shuffle=False, seed=0)
    for number, example in enumerate(
        itertools.islice(dataset.as_numpy_iterator(), flags.examples)
    ):
        yield f"{task.name}, {split}, {number}"
        for feature, config in task.output_features.items():
            yield from _feature(feature, example, config.vocabulary)
        yield from (
            f"  {name}: {_plain(value)}"
            for name, value in example.items()
            if name.removesuffix("_pretokenized") not in task.output_features
        )


def _needs_lengths(step: Any) -> bool:
    import inspect

    parameter = inspect.signature(step).parameters.get("sequence_length")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _feature(
    name: str, example: Mapping[str, Any], vocabulary: seqio.Vocabulary
) -> Iterator[str]:
    tokens = example[name].tolist()
    text = example.get(f"{name}_pretokenized")
    text = vocabulary.decode(tokens) if text is None else text.decode()
    pieces = [vocabulary.tokenizer.IdToPiece(token) for token in tokens]
    yield f"  {name}: {text!r}"
    yield f"  {name}, {len(tokens)} pieces: {' '.join(pieces)}"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
