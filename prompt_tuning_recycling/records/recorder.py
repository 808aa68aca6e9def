"""Makes the records of maps and of recycled prompts.

docs/provenance.md describes their layout.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps import Map, residual
from prompt_tuning_recycling.models.floats import digest
from prompt_tuning_recycling.records import provenance
from prompt_tuning_recycling.recyclers import Fit, Recycler
from prompt_tuning_recycling.words import EmbeddedWords

if TYPE_CHECKING:
    from jaxtyping import Float

logger = logging.getLogger(__name__)

_FORMAT = "prompt_tuning_recycling/provenance/1"
# The entries of a map's record, and their types. `of_prompt` copies them into the
# prompts' records.
_OF_FIT = {
    "format": str,
    **dict.fromkeys(("source", "target", "words", "recycler", "fit"), dict),
    **dict.fromkeys(("residual", "row_norms", "versions"), dict),
    "warnings": list,
}
# Maps with residuals around 1 carried prompts as well as others did, and maps with
# residuals above this did worse (docs/wide_models.md).
_FAR_OFF = 1.5


class Recorder:
    """Makes records, and computes what they have in common only once."""

    def __init__(self, embedded: EmbeddedWords) -> None:
        """Takes the two models' embeddings of the words."""
        self._embedded = embedded

    def of_inputs(self, recycler: Recycler) -> dict[str, Any]:
        """Returns the part of a map's record that says what the map is learned from."""
        words = self._embedded.words
        return {
            "format": _FORMAT,
            **self._origins,
            "words": {
                **words.origin,
                "fitted": len(words.fitted),
                "held_out": len(words.held_out),
                "rows_sha256": digest(words.fitted.rows),
            },
            "recycler": {"name": recycler.name, "parameters": recycler.parameters()},
        }

    def of_fit(self, recycler: Recycler, fit: Fit) -> dict[str, Any]:
        """Returns the record of a map, without any prompt.

        Args:
          recycler: the recycler that was fitted.
          fit: the result.
        """
        held_out = residual(fit.map, *self._embedded.held_out)
        return {
            **self.of_inputs(recycler),
            "fit": {**fit.diagnostics, "warnings": list(fit.warnings)},
            "residual": {"fitted_words": fit.residual, "held_out_words": held_out},
            "row_norms": self._norms,
            "warnings": [
                *filter(None, [self._embedded.mismatch]),
                *self._embedded.words.warnings,
                *fit.warnings,
                *_far_off(held_out),
            ],
            "versions": provenance.versions(),
        }

    def of_prompt(
        self,
        fit_record: Mapping[str, Any],
        tuned: Float[np.ndarray, "length source_dim"],
        origin: Mapping[str, Any],
        recycled: Float[np.ndarray, "length target_dim"],
        map_: Map | None = None,
    ) -> dict[str, Any]:
        """Returns the record of a prompt that a map carried over.

        Args:
          fit_record: the record of the map, from `of_fit`.
          tuned: the prompt that was carried over.
          origin: where that prompt was read from; see `StoredArray.origin`.
          recycled: the result.
          map_: the map; if it writes prompts in a few words, the record says which.
        """
        return {
            "format": fit_record["format"],
            "source": fit_record["source"],
            "target": fit_record["target"],
            "prompt": origin,
            **{name: fit_record[name] for name in ("words", "recycler", "fit")},
            "residual": fit_record["residual"],
            "row_norms": {
                "source_prompt": provenance.norms(tuned),
                "recycled_prompt": provenance.norms(recycled),
                **fit_record["row_norms"],
            },
            "warnings": fit_record["warnings"],
            "nearest_pieces": self._nearest.to(recycled),
            **self._combination(tuned, map_),
            "recycled": _described(recycled),
            "versions": fit_record["versions"],
        }

    def _combination(
        self, tuned: Float[np.ndarray, "length source_dim"], map_: Map | None
    ) -> dict[str, Any]:
        found = None if map_ is None else map_.combination(tuned)
        if found is None:
            return {}
        words = self._embedded.words.fitted
        # The pieces of another vocabulary are not what these rows stand for.
        known = not self._embedded.mismatch
        return {
            "combination": [
                [
                    {
                        "piece": words.pieces[i] if known else None,
                        "row": words.rows[..., i].tolist(),
                        "coefficient": coefficient,
                    }
                    for i, coefficient in of_vector
                ]
                for of_vector in found
            ]
        }

    @functools.cached_property
    def _origins(self) -> dict[str, Any]:
        read = self._embedded
        of_source, of_target = read.fingerprints
        return {
            "source": read.source.embeddings.origin(read.source_rows, of_source),
            "target": read.target.embeddings.origin(read.target_rows, of_target),
        }

    @functools.cached_property
    def _norms(self) -> dict[str, Any]:
        return {
            "source_embeddings": provenance.norms(self._embedded.source_rows),
            "target_embeddings": provenance.norms(self._embedded.target_rows),
        }

    @functools.cached_property
    def _nearest(self) -> provenance.NearestPieces:
        words = self._embedded.words.fitted + self._embedded.words.held_out
        pieces = words.pieces
        if self._embedded.mismatch:
            # These embeddings do not stand for the pieces of another vocabulary.
            pieces = [None] * len(pieces)
        return provenance.NearestPieces(self._embedded.target_rows, pieces, words.rows)


def record_of_mean(
    records: Sequence[Mapping[str, Any]], mean: Float[np.ndarray, "length target_dim"]
) -> dict[str, Any]:
    """Returns the record of the mean of recycled prompts.

    Args:
      records: the records of those prompts.
      mean: the result.
    """
    return {
        "format": _FORMAT,
        "mean_of": list(records),
        "row_norms": {"recycled_prompt": provenance.norms(mean)},
        "recycled": _described(mean),
        "versions": provenance.versions(),
    }


def check_of_fit(record: Mapping[str, Any]) -> None:
    """Raises RecyclingError if a file's content is not a record of a map, in which
    `Recorder.of_prompt` finds what it needs.
    """
    for name, kind in _OF_FIT.items():
        if not isinstance(record.get(name), kind):
            raise RecyclingError(
                f"expected {name} in the record of a map, found "
                f"{str(record.get(name))[:60]}."
            )


def _described(recycled: Float[np.ndarray, "length target_dim"]) -> dict[str, Any]:
    return {
        "shape": list(recycled.shape),
        "dtype": str(recycled.dtype),
        "sha256": digest(recycled),
    }


def _far_off(held_out_residual: float | None) -> list[str]:
    if held_out_residual is None or held_out_residual <= _FAR_OFF:
        return []
    warning = (
        "on words the fit has not seen, the map is far off (residual "
        f"{held_out_residual:.3f}, where mapping every word to zero has 1). Maps as "
        "far off as this lost accuracy on small models, most of all where there were "
        "about as many words as dimensions. Fit on more words, or use another "
        "recycler; the chooser tells whether the prompt works (docs/choosing.md)."
    )
    logger.warning("warning: %s", warning)
    return [warning]
