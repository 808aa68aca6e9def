"""Ridge regression: its parameter, and the choice of it by leave-one-out.

With a ridge λ, W = argmin ‖SW − T‖² + λ‖W‖² = (SᵀS + λI)⁻¹SᵀT. Recyclers give λ as a
multiple of the mean squared norm of the rows of S, which is the mean of the diagonal of
SSᵀ, so that the same number means the same for models of any scale.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.words import WordEmbeddings

if TYPE_CHECKING:
    from jaxtyping import Float

AUTO = "auto"
GRID = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 3))
"""What `auto` chooses among: 0.0001 to 10 in steps of half a power of ten."""

# Rows whose left-out errors are computed at once, to bound memory.
_AT_ONCE = 1024


def check(ridge: float | str | None) -> None:
    """Raises RecyclingError unless `ridge` is None, "auto" or a number from 0 on."""
    if ridge is None or ridge == AUTO:
        return
    is_number = isinstance(ridge, (int, float)) and not isinstance(ridge, bool)
    if not is_number or not 0 <= float(ridge) < math.inf:
        raise RecyclingError(
            "expected ridge, a multiple of the mean squared norm of the source's "
            f"embeddings, to be a number of at least 0, {AUTO!r} or None, got "
            f"{ridge!r}."
        )


def mean_square(source: WordEmbeddings) -> float:
    """Returns the mean squared norm of the rows of S, the unit of ridges."""
    return float(np.vdot(source.array, source.array)) / len(source)


def left_out_residuals(
    source: WordEmbeddings, target: WordEmbeddings
) -> dict[float, float]:
    """Returns the leave-one-out residual of each ridge in `GRID`.

    It is √(Σ ‖t_i − s_i W₋ᵢ‖²) / ‖T‖, where W₋ᵢ is fitted on all words but the i-th.
    With H = S(SᵀS + λI)⁻¹Sᵀ, t_i − s_i W₋ᵢ = (T − HT)_i / (1 − H_ii) (Allen 1974,
    PRESS; Golub, Heath and Wahba 1979). λ itself stays the same, although
    the mean squared norm of the other rows differs a little.
    """
    z, eigenvalues = source.once(_spectrum)
    scale = mean_square(source)
    image = z.T @ target.array
    squares = dict.fromkeys(GRID, 0.0)
    for first in range(0, len(z), _AT_ONCE):
        rows = z[first : first + _AT_ONCE]
        aim = target.array[first : first + _AT_ONCE]
        for ridge in GRID:
            weighted = rows / (eigenvalues + ridge * scale)
            errors = aim - weighted @ image
            errors /= 1 - np.sum(weighted * rows, axis=1, keepdims=True)
            squares[ridge] += float(np.vdot(errors, errors))
    norm = np.linalg.norm(target.array)
    return {ridge: float(math.sqrt(square) / norm) for ridge, square in squares.items()}


def _spectrum(
    source: WordEmbeddings,
) -> tuple[Float[np.ndarray, "words k"], Float[np.ndarray, " k"]]:
    """Returns Z and d with S(SᵀS + λI)⁻¹Sᵀ = Z diag(1/(d + λ)) Zᵀ for every λ.

    The eigenvalues of the smaller Gram matrix are good enough: those that rounding
    hides are far below the smallest λ of the grid.
    """
    words, dim = source.array.shape
    if words < dim:
        eigenvalues, vectors = np.linalg.eigh(source.array @ source.array.T)
        eigenvalues = np.maximum(eigenvalues, 0)
        return vectors * np.sqrt(eigenvalues), eigenvalues
    eigenvalues, vectors = np.linalg.eigh(source.gram)
    return source.array @ vectors, np.maximum(eigenvalues, 0)
