"""Say what a path is: a model, a checkpoint, a prompt.

  prompt-recycling inspect /models/t5x
  prompt-recycling inspect prompt.npy --model=/models/t5x

Prints the format, the meaning of the names, the embedding table and its scale, the
step, the vocabulary, and the prompts, with their norms and the words nearest to them.
Of the table, only the rows of a few thousand words are read.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.models import Model, open_model, vocabularies
from prompt_tuning_recycling.models.layouts import SingleArray
from prompt_tuning_recycling.prompts.prompt import (
    check_prompt,
    load_record,
    record_path,
)
from prompt_tuning_recycling.records import provenance
from prompt_tuning_recycling.records.text import record_text
from prompt_tuning_recycling.words import NUM_WORDS, Words

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

_Value = TypeVar("_Value")

_BEGINS_WORD = "\u2581"
_MOST_VECTORS = 10
_MOST_NAMES = 8
# No prompt is longer, and no vocabulary is smaller.
_LONGEST_PROMPT = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Raises:
      RecyclingError: there is nothing at the path that the package reads, or what is
        there is damaged.
    """
    flags = _parser().parse_args(arguments)
    model = open_model(
        flags.path, embedding_name=flags.embedding_name, vocabulary=flags.vocabulary
    )
    of = model
    if flags.model is not None:
        of = open_model(flags.model, vocabulary=flags.vocabulary)
    else:
        # An adapter's model may be elsewhere; then its words are not known.
        with contextlib.suppress(RecyclingError):
            of = model.base
    for line in _lines(model, of, flags.path):
        # A name in a checkpoint may have a line break in it.
        print(line.replace("\n", "\\n"), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("inspect", "PATH [flags]", __doc__)
    parser.add_argument(
        "path",
        metavar="PATH",
        help="a checkpoint of T5X, the MODEL_DIR that holds it, a folder or file of "
        "safetensors, or a numpy file",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="the model whose words are compared with the prompts (default: PATH)",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="the model's vocabulary file (default: the one beside it)",
    )
    parser.add_argument(
        "--embedding_name",
        metavar="NAME",
        help="the embedding table's name in PATH (default: the usual one)",
    )
    return parser


def _lines(model: Model, of: Model, given: str) -> Iterator[str]:
    """Yields the lines about a model.

    Args:
      model: what is described.
      of: the model whose words are compared with the prompts.
      given: the path as it was given.
    """
    yield f"Path            {model.path}"
    if os.path.abspath(as_path(given)) != os.path.abspath(model.path):
        yield f"  found in      {given}"
    yield f"Format          {model.checkpoint.format}"
    yield f"Layout          {model.layout.title}"
    if isinstance(model.layout, SingleArray):
        yield from _array_lines(model, of)
        return
    names = model.checkpoint.keys()
    yield f"Arrays          {len(names)}"
    if model.layout.step(model.checkpoint) is not None:
        yield f"Step            {model.step}"
    yield from _table_lines(model)
    yield from _vocabulary_lines(model)
    prompts = _or_why(lambda: dict(model.prompts))
    if isinstance(prompts, str):
        yield f"Prompts         not known: {prompts}"
        return
    if not prompts:
        yield "Prompts         none"
    for site, stored in prompts.items():
        yield f"Prompt          {site}: {stored.name}"
        array = stored.read()
        check_prompt(array, str(stored))
        yield from _prompt_lines(array, of)


def _array_lines(model: Model, of: Model) -> Iterator[str]:
    """Yields the lines about a numpy file."""
    (stored,) = model.prompts.values()
    if len(stored.shape) != 2 or stored.shape[0] > _LONGEST_PROMPT:
        rows = min(stored.shape[0], NUM_WORDS) if stored.shape else 0
        what = "an embedding table" if len(stored.shape) == 2 else "no matrix"
        yield f"Array           {what}"
        yield f"  shape         {list(stored.shape)}, {stored.dtype}"
        if len(stored.shape) == 2:
            yield _norms("first rows", stored.take(range(rows)))
        return
    array = stored.read()
    check_prompt(array, str(stored))
    yield "Array           a prompt [length, width], or the table of a few words"
    yield from _prompt_lines(array, None if of is model else of)
    beside = record_path(model.path)
    if model.checkpoint.is_stored and beside.exists():
        yield f"Record          {beside}"
        record = _or_why(lambda: load_record(model.path))
        if isinstance(record, str):
            yield f"  not used      {record}"
        else:
            described = _or_why(lambda: record_text(record))
            yield from (f"  {line}" for line in described.splitlines())


def _table_lines(model: Model) -> Iterator[str]:
    table = _or_why(lambda: model.embeddings)
    if isinstance(table, str) or not model.has_embeddings:
        why = table if isinstance(table, str) else "there is none"
        yield f"Embeddings      not known: {why}"
        return
    yield f"Embeddings      {table.name}"
    yield f"  shape         {list(table.shape)}, {table.dtype}"
    yield f"  scale         {table.scale:.6g}"
    rows = np.linspace(0, table.shape[0] - 1, min(table.shape[0], NUM_WORDS))
    yield _norms("row norms", table.take(rows.astype(np.int64)))


def _vocabulary_lines(model: Model) -> Iterator[str]:
    file = model.vocabulary_file or vocabularies.beside(model.path)
    if file is None:
        yield "Vocabulary      no file beside it"
        return
    yield f"Vocabulary      {file}"
    if model.has_embeddings:
        words = _words(model)
        found = words if isinstance(words, str) else f"{len(words)} are compared"
        yield f"  words         {found}"


def _prompt_lines(
    array: Float[np.ndarray, "length width"], of: Model | None
) -> Iterator[str]:
    """Yields the lines about a prompt, with the nearest words of a model."""
    yield f"  shape         {list(array.shape)}, {array.dtype}"
    yield _norms("row norms", array)
    if of is None:
        return
    table = _or_why(lambda: of.embeddings)
    if isinstance(table, str) or not of.has_embeddings:
        yield "  nearest words not known: there is no table (--model)"
        return
    if table.shape[1] != array.shape[1]:
        yield (
            f"  nearest words not known: the words of {of.path} have width "
            f"{table.shape[1]}"
        )
        return
    words = _words(of)
    if isinstance(words, str):
        yield f"  nearest words not known: {words}"
        return
    rows = np.asarray(list(words), np.int64)
    nearest = provenance.NearestPieces(table.take(rows), list(words.values())).to(array)
    which = "" if of.vocabulary else ", if this is T5's vocabulary"
    yield f"  nearest words by cosine{which}"
    for number, pieces in enumerate((nearest or [])[:_MOST_VECTORS]):
        found = "  ".join(f"{one['piece']} {one['cosine']:.2f}" for one in pieces)
        yield f"  vector {number:<7}{found}"
    if len(array) > _MOST_VECTORS:
        yield f"  and {len(array) - _MOST_VECTORS} more"


def _words(model: Model) -> Mapping[int, str] | str:
    """Returns the words to compare prompts with, by their rows: of the vocabulary, or
    the package's English words of T5's, or why there are none.
    """
    rows = model.embeddings.shape[0]
    vocabulary = model.vocabulary
    if vocabulary is not None:
        found = {
            row: piece
            for row, piece in enumerate(vocabulary.pieces[:rows])
            if piece and piece.startswith(_BEGINS_WORD) and piece[1:].isalpha()
        }
        return dict(itertools.islice(found.items(), NUM_WORDS)) or "it has none"
    words = Words.from_list()
    fewest, most = words.table_sizes or (0, 0)
    if not fewest <= rows <= most:
        return "there is no vocabulary file (--vocabulary)"
    return {
        int(row): piece
        for row, piece in zip(
            words.fitted.source_rows, words.fitted.pieces, strict=True
        )
        if piece is not None
    }


def _norms(what: str, rows: Shaped[np.ndarray, "rows dim"]) -> str:
    found = provenance.norms(rows)
    return (
        f"  {what:14}{found['min']:.4g}, {found['median']:.4g}, {found['max']:.4g} "
        "(smallest, median, largest)"
    )


def _or_why(find: Callable[[], _Value]) -> _Value | str:
    """Returns what is found, or why it cannot be."""
    try:
        return find()
    except RecyclingError as error:
        return str(error)


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
