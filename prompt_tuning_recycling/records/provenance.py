"""The parts of a record that describe vectors and the software."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.version import __version__

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

NEAREST = 3


def norms(vectors: Shaped[np.ndarray, "rows dim"]) -> dict[str, float]:
    """Returns the smallest, median and largest Euclidean norm of the rows."""
    squares = vectors.astype(np.float64)
    # In place, because fetching new memory takes longer than the arithmetic.
    np.multiply(squares, squares, out=squares)
    lengths = np.sqrt(squares.sum(axis=1))
    return {
        "min": float(lengths.min()),
        "median": float(np.median(lengths)),
        "max": float(lengths.max()),
    }


class NearestPieces:
    """Finds the pieces whose embeddings are closest to vectors in direction."""

    def __init__(
        self,
        embeddings: Shaped[np.ndarray, "words dim"],
        pieces: Sequence[str | None],
        rows: Int[np.ndarray, "*sides words"] | None = None,
    ) -> None:
        """Takes the embeddings of words, their pieces, and their rows.

        Args:
          embeddings: of the words.
          pieces: one for each word; None if it is unknown.
          rows: see `AlignedWords.rows`; None to leave them out.
        """
        named = np.array([piece is not None for piece in pieces], bool)
        self._pieces = [piece for piece in pieces if piece is not None]
        self._rows = None if rows is None else rows[..., named]
        # BLAS is a tenth faster where the words are contiguous.
        self._directions = np.ascontiguousarray(_unit(embeddings[named]).T)

    def to(
        self, prompt: Float[np.ndarray, "length dim"]
    ) -> list[list[dict[str, Any]]] | None:
        """Returns, for each vector, the three pieces with the highest cosine similarity
        with their rows and that similarity. Returns None if no piece is known.
        """
        if not self._pieces:
            return None
        similarity = _unit(prompt) @ self._directions
        rows = np.arange(len(similarity))
        nearest: list[list[dict[str, Any]]] = [[] for _ in rows]
        # Taking the maximum three times is faster than sorting thousands.
        for _ in range(min(NEAREST, len(self._pieces))):
            best = similarity.argmax(axis=1)
            for found, i, cosine in zip(
                nearest, best.tolist(), similarity[rows, best].tolist(), strict=True
            ):
                row = {} if self._rows is None else {"row": self._rows[..., i].tolist()}
                found.append(
                    {"piece": self._pieces[i], **row, "cosine": round(cosine, 4)}
                )
            similarity[rows, best] = -np.inf
        return nearest


def versions() -> dict[str, str]:
    """Returns the versions of the software that took part in the computation."""
    found = {
        "python": platform.python_version(),
        # The version that runs, which may differ from the installed one.
        "prompt_tuning_recycling": __version__,
    }
    for package in ("numpy", "tensorstore", "jax", "jaxlib"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _unit(vectors: Shaped[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    wide = vectors.astype(np.float32, copy=False)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
