"""What is recorded of a recycled prompt: what went in, and how it looks.

The record's layout is described in docs/provenance.md.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling import __version__
from prompt_tuning_recycling.checkpoints import Checkpoint
from prompt_tuning_recycling.files import is_remote

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

FORMAT = "prompt_tuning_recycling/provenance/1"
NEAREST = 3


def parameter(
    checkpoint: Checkpoint, name: str, used: Shaped[np.ndarray, ...]
) -> dict[str, Any]:
    """Where an array came from, and the digest of the part of it that was used."""
    path = os.fspath(checkpoint.path)
    in_memory = checkpoint.format == "array"
    return {
        "path": path if in_memory or is_remote(path) else os.path.abspath(path),
        "format": checkpoint.format,
        "fingerprint": checkpoint.fingerprint(),
        "name": name,
        "shape": list(checkpoint.shape(name)),
        "dtype": str(used.dtype),
        "used_sha256": digest(used),
    }


def digest(array: Shaped[np.ndarray, ...]) -> str:
    """SHA-256 of an array's bytes, in row-major order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def norms(vectors: Shaped[np.ndarray, "rows dim"]) -> dict[str, float]:
    """Smallest, median and largest Euclidean norm of the rows."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return {
        "min": float(lengths.min()),
        "median": float(np.median(lengths)),
        "max": float(lengths.max()),
    }


class NearestPieces:
    """Finds the pieces whose embeddings point most nearly where vectors do."""

    def __init__(
        self,
        embeddings: Shaped[np.ndarray, "rows dim"],
        indices: Int[np.ndarray, rows],
        pieces: Mapping[int, str],
    ) -> None:
        """Takes the rows that were read, their vocabulary indices, and the pieces of
        those indices whose piece is known.
        """
        named = np.array([int(index) in pieces for index in indices], bool)
        self._pieces = [pieces[int(index)] for index in indices[named]]
        self._directions = _unit(embeddings[named]).T

    def to(
        self, prompt: Float[np.ndarray, "length dim"]
    ) -> list[list[dict[str, Any]]] | None:
        """Returns for each vector the three pieces of highest cosine similarity, and
        that; None if no piece is known.
        """
        if not self._pieces:
            return None
        similarity = _unit(prompt) @ self._directions
        rows = np.arange(len(similarity))
        nearest: list[list[dict[str, Any]]] = [[] for _ in rows]
        # Three times the largest: faster than sorting thousands.
        for _ in range(min(NEAREST, len(self._pieces))):
            best = similarity.argmax(axis=1)
            for found, i, cosine in zip(
                nearest, best.tolist(), similarity[rows, best].tolist(), strict=True
            ):
                found.append({"piece": self._pieces[i], "cosine": round(cosine, 4)})
            similarity[rows, best] = -np.inf
        return nearest


def versions() -> dict[str, str]:
    """Versions of what took part in the computation."""
    found = {
        "python": platform.python_version(),
        # Not what is installed, which may not be what runs.
        "prompt_tuning_recycling": __version__,
    }
    for package in ("numpy", "tensorstore", "jax", "jaxlib"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _unit(vectors: Shaped[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    wide = vectors.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
