"""Least squares in float64, with the minimum-norm solution if there are several.

The pseudo-inverse comes from a singular value decomposition, so the rank and the
condition number are known exactly and are reported.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps import Map
from prompt_tuning_recycling.models.floats import EPS, coarsest
from prompt_tuning_recycling.recyclers.base import Fit
from prompt_tuning_recycling.words import WordEmbeddings

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoInverse:
    """The Moore-Penrose inverse of a matrix A [rows, columns], kept as three factors.

    With A = U diag(s) Vᵀ over the singular values above the cutoff,
    A⁺ = V diag(1/s) Uᵀ.

    Attributes:
      u: [rows, rank], with orthonormal columns.
      s: [rank], the singular values, descending.
      vt: [rank, columns], with orthonormal rows.
      condition_number: the largest singular value divided by the smallest one kept.
      stored_as: the dtype that A is stored in.
      warnings: what a user should know before trusting a solution.
    """

    u: Float[np.ndarray, "rows rank"]
    s: Float[np.ndarray, rank]
    vt: Float[np.ndarray, "rank columns"]
    condition_number: float
    stored_as: np.dtype
    warnings: tuple[str, ...]

    def __matmul__(
        self, right: Float[np.ndarray, "rows k"]
    ) -> Float[np.ndarray, "columns k"]:
        """Returns A⁺B, the minimum-norm X that minimizes ‖AX − B‖."""
        return self.vt.T @ ((self.u.T @ right) / self.s[:, None])

    def dense(self) -> Float[np.ndarray, "columns rows"]:
        """Returns A⁺ as one matrix."""
        return (self.vt.T / self.s) @ self.u.T

    def fit(self, map_: Map, target_stored_as: np.dtype) -> Fit:
        """Returns a map that was made with this inverse, with diagnostics and warnings.

        Args:
          map_: the map.
          target_stored_as: the dtype that the target's embeddings are stored in.
        """
        stored_as = coarsest(self.stored_as, target_stored_as)
        ill_conditioned = _conditioning_warning(self.condition_number, stored_as)
        diagnostics = {
            "rank": len(self.s),
            "condition_number": self.condition_number,
            "minimum_norm": len(self.s) < self.vt.shape[1],
        }
        return Fit(map_, diagnostics, (*self.warnings, *ill_conditioned))


def check_rcond(rcond: float | None) -> None:
    """Raises RecyclingError unless `rcond` is None or lies in [0, 1)."""
    if rcond is not None and not 0 <= rcond < 1:
        raise RecyclingError(
            "expected rcond, the share of the largest singular value below which "
            f"others count as zero, to be in [0, 1), got {rcond}."
        )


def pseudo_inverse(source: WordEmbeddings, rcond: float | None = None) -> PseudoInverse:
    """Returns the pseudo-inverse of the source's embeddings.

    Args:
      source: [words, dim].
      rcond: singular values below this share of the largest one count as zero. The
        default is float64's eps times the longer side.

    Raises:
      RecyclingError: every singular value is zero.
    """
    words, dim = source.array.shape
    u, s, vt = source.svd
    cutoff = float(np.finfo(np.float64).eps) * max(words, dim)
    numerical = int(np.sum(s > cutoff * s[0]))
    rank = numerical if rcond is None else int(np.sum(s > rcond * s[0]))
    if rank == 0:
        raise RecyclingError("the source's embeddings of these words are all zero.")
    condition = float(s[0] / s[rank - 1])
    warnings = tuple(_warnings(words, dim, numerical, rank, rcond))
    return PseudoInverse(
        u[:, :rank], s[:rank], vt[:rank], condition, source.stored_as, warnings
    )


def _warnings(
    words: int, dim: int, numerical: int, rank: int, rcond: float | None
) -> list[str]:
    """Returns what a user should know about the solution.

    Args:
      words: the number of rows of the matrix.
      dim: the number of its columns.
      numerical: its rank in float64.
      rank: how many directions the solution uses; `numerical` unless `rcond` is given.
      rcond: see `pseudo_inverse`.
    """
    found = []
    if words < dim:
        found.append(
            f"{words} words determine only part of a map from {dim} dimensions; the "
            "smallest such map (minimum norm) was taken. It drops what lies outside "
            "the span of the words. More words would determine the rest."
        )
    if numerical < min(words, dim):
        found.append(
            f"the source's embeddings of these words have rank {numerical} where "
            f"{min(words, dim)} was possible; "
            + (
                "the smallest map that fits was taken."
                if rank <= numerical
                else f"rcond={rcond:g} keeps {rank - numerical} directions more, which "
                "only float64's rounding determines."
            )
        )
    if rank < numerical:
        found.append(
            f"rcond={rcond:g} leaves out {numerical - rank} of the {numerical} "
            "directions in which the source's embeddings of these words vary; the "
            "part of a prompt in those directions is dropped."
        )
    return found


def _conditioning_warning(condition: float, dtype: np.dtype) -> list[str]:
    """Returns a warning if rounding decides the solution.

    Directions in which embeddings vary by less than the rounding of their stored dtype
    carry no information, and a map that divides by them amplifies noise.

    Args:
      condition: the largest singular value divided by the smallest one kept.
      dtype: the dtype that the embeddings are stored in; of two, the coarser one.
    """
    eps = EPS[dtype.name]
    if condition <= 1 / eps:
        return []
    # Rounded up to one digit, so that a fit with this rcond does not warn again.
    digit = 10.0 ** math.floor(math.log10(eps))
    rcond = math.ceil(eps / digit) * digit
    return [
        "the source's embeddings are ill-conditioned (condition number "
        f"{condition:.1e}, above the {1 / eps:.1e} that {dtype.name} resolves, the "
        "dtype of stored embeddings), so the map amplifies rounding. Set rcond to "
        f"{rcond:.0e}, for example, to leave out the directions that cause this."
    ]
