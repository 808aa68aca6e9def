"""Two models' embeddings of the same words, read once for all that is made of them:
maps from the one to the other, and the report on a prompt that such a map carried over.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling import provenance
from prompt_tuning_recycling.checkpoints import Checkpoint
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.recyclers import FittedRecycler, Recycler
from prompt_tuning_recycling.words import Words, of_another_vocabulary

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

logger = logging.getLogger(__name__)

# T5 pads its table to a multiple of this: 32,000 pieces and 100 extra ids become
# 32,128 rows in one release and 32,100 in another, and mean the same.
_VOCABULARY_PADDING = 128


@dataclasses.dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models' embeddings of the same words. Made by `read_pairs`.

    Attributes:
      source, target: the checkpoints they were read from.
      embedding: the embedding table's name in both.
      words: which words were asked for.
      rows: [rows], the vocabulary indices: the words to fit on, then those held out.
      source_rows: [rows, source_dim], as stored.
      target_rows: [rows, target_dim], as stored.
    """

    source: Checkpoint
    target: Checkpoint
    embedding: str
    words: Words
    rows: Int[np.ndarray, rows]
    source_rows: Shaped[np.ndarray, "rows source_dim"]
    target_rows: Shaped[np.ndarray, "rows target_dim"]

    @property
    def count(self) -> int:
        """How many words are fitted on; the other rows are held out."""
        return len(self.words.rows)

    def fit(self, recycler: Recycler) -> tuple[FittedRecycler, dict[str, float | None]]:
        """Learns a map; returns it with its residuals on fitted and held-out words."""
        logger.info("fitting %s on %d words", recycler.name, self.count)
        count = self.count
        fitted = recycler.fit(self.source_rows[:count], self.target_rows[:count])
        return fitted, {
            "fitted_words": _residual(
                fitted, self.source_rows[:count], self.target_rows[:count]
            ),
            "held_out_words": _residual(
                fitted, self.source_rows[count:], self.target_rows[count:]
            ),
        }

    def fit_report(
        self, fitted: FittedRecycler, residual: Mapping[str, float | None]
    ) -> dict[str, Any]:
        """Returns what is to be recorded of a map, whatever it is applied to."""
        return {
            "format": provenance.FORMAT,
            **self._origins,
            "words": {
                **self.words.origin,
                "fitted": self.count,
                "held_out": len(self.rows) - self.count,
                "rows_sha256": provenance.digest(self.words.rows),
            },
            "recycler": {
                "name": fitted.recycler.name,
                "parameters": fitted.recycler.parameters(),
            },
            "fit": dict(fitted.diagnostics),
            "residual": dict(residual),
            "row_norms": self._norms,
            "warnings": [
                *filter(None, [self.mismatch]),
                *_warnings(fitted, residual["held_out_words"]),
            ],
            "versions": provenance.versions(),
        }

    def prompt_report(
        self,
        fit_report: Mapping[str, Any],
        prompt_from: Checkpoint,
        prompt_name: str,
        tuned: Float[np.ndarray, "length source_dim"],
        recycled: Float[np.ndarray, "length target_dim"],
    ) -> dict[str, Any]:
        """Returns what is to be recorded of a prompt that a map carried over.

        Args:
          fit_report: of the map, from `fit_report`.
          prompt_from: where the prompt was read.
          prompt_name: the prompt's name there.
          tuned: the prompt before.
          recycled: the prompt after.
        """
        return {
            "format": fit_report["format"],
            "source": fit_report["source"],
            "target": fit_report["target"],
            "prompt": provenance.parameter(prompt_from, prompt_name, tuned),
            **{name: fit_report[name] for name in ("words", "recycler", "fit")},
            "residual": fit_report["residual"],
            "row_norms": {
                "source_prompt": provenance.norms(tuned),
                "recycled_prompt": provenance.norms(recycled),
                **fit_report["row_norms"],
            },
            "warnings": fit_report["warnings"],
            "nearest_pieces": self._nearest.to(recycled),
            "recycled": {
                "shape": list(recycled.shape),
                "dtype": str(recycled.dtype),
                "sha256": provenance.digest(recycled),
            },
            "versions": fit_report["versions"],
        }

    @functools.cached_property
    def mismatch(self) -> str | None:
        """A warning where the words are of another vocabulary than the models."""
        for model in (self.source, self.target):
            rows = model.shape(self.embedding)[0]
            sizes = self.words.table_sizes
            if found := of_another_vocabulary(sizes, rows, str(model.path)):
                return found
        return None

    @functools.cached_property
    def _origins(self) -> dict[str, Any]:
        return {
            "source": provenance.parameter(
                self.source, self.embedding, self.source_rows
            ),
            "target": provenance.parameter(
                self.target, self.embedding, self.target_rows
            ),
        }

    @functools.cached_property
    def _norms(self) -> dict[str, Any]:
        return {
            "source_embeddings": provenance.norms(self.source_rows),
            "target_embeddings": provenance.norms(self.target_rows),
        }

    @functools.cached_property
    def _nearest(self) -> provenance.NearestPieces:
        # Pieces of another vocabulary are not what these embeddings stand for.
        pieces = {} if self.mismatch else self.words.pieces
        return provenance.NearestPieces(self.target_rows, self.rows, pieces)


def read_pairs(
    source: Checkpoint,
    target: Checkpoint,
    word_sets: Sequence[Words],
    embedding: str,
) -> list[ModelPair]:
    """Reads the embeddings of each set of words; both models are read once.

    Raises:
      RecyclingError: there is no such table, the two models' vocabularies differ, or a
        word lies outside of them.
    """
    check_tables(source, target, embedding)
    size = min(model.shape(embedding)[0] for model in (source, target))
    wanted = [_rows_to_read(words, size) for words in word_sets]
    every = wanted[0] if len(wanted) == 1 else np.unique(np.concatenate(wanted))
    logger.info("reading %d embeddings of the source, %s", len(every), source.path)
    source_rows = source.take(embedding, every)
    logger.info("reading %d embeddings of the target, %s", len(every), target.path)
    target_rows = target.take(embedding, every)
    pairs = []
    for words, rows in zip(word_sets, wanted, strict=True):
        arrays = [rows, source_rows, target_rows]
        if len(wanted) > 1:
            places = np.searchsorted(every, rows)
            arrays = [rows, source_rows[places], target_rows[places]]
        usable = _without_unusable(len(words.rows), *arrays)
        pairs.append(ModelPair(source, target, embedding, words, *usable))
    for warning in dict.fromkeys(pair.mismatch for pair in pairs):
        if warning:
            logger.warning("warning: %s", warning)
    return pairs


def check_tables(source: Checkpoint, target: Checkpoint, embedding: str) -> None:
    """Raises RecyclingError unless both have a table, of the same vocabulary."""
    for model in (source, target):
        model.check_floating(embedding)
        shape = model.shape(embedding)
        if len(shape) != 2:
            raise RecyclingError(
                f"{model.path}: expected {embedding} to be a table [vocabulary, "
                f"width], found shape {list(shape)}."
            )
    sizes = [model.shape(embedding)[0] for model in (source, target)]
    blocks = {math.ceil(size / _VOCABULARY_PADDING) for size in sizes}
    if len(blocks) > 1:
        raise RecyclingError(
            f"the source model {source.path} has {sizes[0]} embeddings and the target "
            f"{target.path} has {sizes[1]}, so their vocabularies differ and the same "
            "index does not mean the same word. Recycling needs two models of one "
            "vocabulary."
        )


def check_width(
    source: Checkpoint, embedding: str, prompt_from: Checkpoint, prompt_name: str
) -> None:
    """Raises RecyclingError unless a prompt is as wide as the source model."""
    prompt_shape = prompt_from.shape(prompt_name)
    table_shape = source.shape(embedding)
    if len(prompt_shape) == 2 and prompt_shape[1] != table_shape[1]:
        raise RecyclingError(
            f"the prompt {prompt_from.path} has width {prompt_shape[1]} (shape "
            f"{list(prompt_shape)}), but the source model {source.path} has embeddings "
            f"of width {table_shape[1]}. A prompt works only with the model it was "
            "tuned on: give that model as the source."
        )


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
