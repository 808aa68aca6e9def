"""`recycle_prompt`: two embedding tables, a prompt, words and a recycler in; the
prompt for the target model, and a report of how it came about, out.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from etils import epath

from prompt_tuning_recycling import provenance
from prompt_tuning_recycling.checkpoints import (
    EMBEDDING,
    ArrayInMemory,
    Checkpoint,
    open_checkpoint,
)
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.prompts import find_prompt, load_prompt
from prompt_tuning_recycling.recyclers import FittedRecycler, Recycler, make
from prompt_tuning_recycling.words import Words

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

    ArrayOrCheckpoint: TypeAlias = epath.PathLike | Checkpoint | np.ndarray

logger = logging.getLogger(__name__)

# T5 pads its table to a multiple of this: 32,000 pieces and 100 extra ids become
# 32,128 rows in one release and 32,100 in another, and mean the same.
_VOCABULARY_PADDING = 128


@dataclasses.dataclass(frozen=True, eq=False)
class RecycledPrompt:
    """A prompt carried over to another model.

    Attributes:
      array: float32 [length, target_dim].
      report: how it came about and how far to trust it, JSON-compatible; what is
        written beside the prompt as its provenance (docs/provenance.md).
      fitted: the map that was applied; applies to further prompts, and is saved.
    """

    array: Float[np.ndarray, "length target_dim"]
    report: Mapping[str, Any]
    fitted: FittedRecycler


def recycle_prompt(
    source: ArrayOrCheckpoint,
    target: ArrayOrCheckpoint,
    prompt: ArrayOrCheckpoint | None = None,
    *,
    words: Words | None = None,
    recycler: str | Recycler = "v2v-lin",
    embedding: str = EMBEDDING,
    prompt_name: str | None = None,
) -> RecycledPrompt:
    """Carries a prompt that was tuned on the source model over to the target model.

    Args:
      source: the model the prompt was tuned on: a checkpoint, a path to one (see
        `open_checkpoint`), or its embedding table [vocabulary, source_dim].
      target: the model the prompt is wanted for, likewise.
      prompt: a numpy file, a checkpoint, a path, or an array [length, source_dim];
        by default the prompt inside `source`.
      words: the vocabulary rows to fit on; by default entries 1000 to 5000 of the
        package's English list for the T5 vocabulary.
      recycler: a recycler, or its name.
      embedding: the embedding table's name in the checkpoints.
      prompt_name: the prompt's name in its checkpoint; see `load_prompt`.

    Returns:
      The recycled prompt, float32 [length, target_dim], its report and the map.

    Raises:
      RecyclingError: anything given cannot be used; says what and why.
    """
    started = time.monotonic()
    recycler = make(recycler)
    words = words if words is not None else Words.from_list()
    source = _opened(source)
    target = _opened(target)
    prompt_from = source if prompt is None else _opened(prompt)
    prompt_name = prompt_name or find_prompt(prompt_from)
    for model in (source, target):
        _check_table(model, embedding)
    _check_widths(source, embedding, prompt_from, prompt_name)
    _check_vocabularies(source, target, embedding)

    tuned = load_prompt(prompt_from, prompt_name)
    count = len(words.rows)
    rows = _rows_to_read(words, min(t.shape(embedding)[0] for t in (source, target)))
    logger.info("reading %d embeddings of the source, %s", len(rows), source.path)
    source_rows = source.take(embedding, rows)
    logger.info("reading %d embeddings of the target, %s", len(rows), target.path)
    target_rows = target.take(embedding, rows)
    rows, source_rows, target_rows = _without_unusable(
        count, rows, source_rows, target_rows
    )
    read = time.monotonic()

    logger.info("fitting %s on %d words", recycler.name, count)
    fitted = recycler.fit(source_rows[:count], target_rows[:count])
    recycled = fitted.apply(tuned)
    done = time.monotonic()

    residual = {
        "fitted_words": _residual(fitted, source_rows[:count], target_rows[:count]),
        "held_out_words": _residual(fitted, source_rows[count:], target_rows[count:]),
    }
    report = {
        "format": provenance.FORMAT,
        "source": provenance.parameter(source, embedding, source_rows),
        "target": provenance.parameter(target, embedding, target_rows),
        "prompt": provenance.parameter(prompt_from, prompt_name, tuned),
        "words": {
            **words.origin,
            "fitted": count,
            "held_out": len(rows) - count,
            "rows_sha256": provenance.digest(words.rows),
        },
        "recycler": {"name": recycler.name, "parameters": recycler.parameters()},
        "fit": dict(fitted.diagnostics),
        "residual": residual,
        "row_norms": {
            "source_prompt": provenance.norms(tuned),
            "recycled_prompt": provenance.norms(recycled),
            "source_embeddings": provenance.norms(source_rows),
            "target_embeddings": provenance.norms(target_rows),
        },
        "warnings": _warnings(fitted, residual["held_out_words"]),
        "nearest_pieces": provenance.nearest_pieces(
            recycled, target_rows, rows, words.pieces
        ),
        "recycled": {
            "shape": list(recycled.shape),
            "dtype": str(recycled.dtype),
            "sha256": provenance.digest(recycled),
        },
        "versions": provenance.versions(),
        "seconds": {
            "read": round(read - started, 3),
            "fit_and_apply": round(done - read, 3),
        },
    }
    return RecycledPrompt(recycled, report, fitted)


def _opened(origin: ArrayOrCheckpoint) -> Checkpoint:
    if isinstance(origin, Checkpoint):
        return origin
    if isinstance(origin, (str, os.PathLike)):
        return open_checkpoint(origin)
    return ArrayInMemory(np.asarray(origin))


def _rows_to_read(words: Words, vocabulary_size: int) -> Int[np.ndarray, rows]:
    """The words' rows, then those held out; in one go, so no chunk is read twice.

    A held-out word beyond the vocabulary is only left out: nobody asked for it.
    """
    held_out = words.held_out[words.held_out < vocabulary_size]
    return np.concatenate([words.rows, held_out])


def _without_unusable(
    count: int, *arrays: Shaped[np.ndarray, "rows ..."]
) -> list[Shaped[np.ndarray, "usable ..."]]:
    """Leaves out held-out words, those from `count` on, with numbers not finite.

    Among the words to be fitted they are an error, which the recycler reports.
    """
    usable = np.ones(len(arrays[0]), bool)
    for array in arrays:
        finite = np.isfinite(array.astype(np.float32)).reshape(len(array), -1)
        usable &= finite.all(axis=1)
    usable[:count] = True
    return [array[usable] for array in arrays]


def _check_table(model: Checkpoint, embedding: str) -> None:
    shape = model.shape(embedding)
    if len(shape) != 2:
        raise RecyclingError(
            f"{model.path}: expected {embedding} to be a table [vocabulary, width], "
            f"found shape {list(shape)}."
        )


def _check_widths(
    source: Checkpoint, embedding: str, prompt_from: Checkpoint, prompt_name: str
) -> None:
    prompt_shape = prompt_from.shape(prompt_name)
    table_shape = source.shape(embedding)
    if len(prompt_shape) == 2 and prompt_shape[1] != table_shape[1]:
        raise RecyclingError(
            f"the prompt {prompt_from.path} has width {prompt_shape[1]} (shape "
            f"{list(prompt_shape)}), but the source model {source.path} has embeddings "
            f"of width {table_shape[1]}. A prompt works only with the model it was "
            "tuned on: give that model as the source."
        )


def _check_vocabularies(source: Checkpoint, target: Checkpoint, embedding: str) -> None:
    sizes = [model.shape(embedding)[0] for model in (source, target)]
    blocks = {math.ceil(size / _VOCABULARY_PADDING) for size in sizes}
    if len(blocks) > 1:
        raise RecyclingError(
            f"the source model {source.path} has {sizes[0]} embeddings and the target "
            f"{target.path} has {sizes[1]}, so their vocabularies differ and the same "
            "index does not mean the same word. Recycling needs two models of one "
            "vocabulary."
        )


def _residual(
    fitted: FittedRecycler,
    source: Float[np.ndarray, "words source_dim"],
    target: Float[np.ndarray, "words target_dim"],
) -> float | None:
    """‖f(S) − T‖ / ‖T‖ (Frobenius): 0 is a perfect map, 1 as good as mapping to 0."""
    wide = target.astype(np.float64)
    if not wide.any():
        return None
    mapped = fitted.apply(source)
    return float(np.linalg.norm(mapped - wide) / np.linalg.norm(wide))


def _warnings(fitted: FittedRecycler, held_out_residual: float | None) -> list[str]:
    """What a user should know before trusting the prompt."""
    warnings = list(fitted.diagnostics["warnings"])
    if held_out_residual is not None and held_out_residual >= 1:
        unhelpful = (
            "on words the fit has not seen, the map does no better than mapping every "
            f"word to zero (residual {held_out_residual:.3f}): these two models' "
            "embeddings have nothing in common that this recycler finds, and the "
            "recycled prompt is not likely to work."
        )
        logger.warning("warning: %s", unhelpful)
        warnings.append(unhelpful)
    return warnings
