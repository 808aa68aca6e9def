"""The pseudo-inverse by singular values, for matrices of any rank and condition."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.words import WordEmbeddings

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoInverse:
    """The Moore-Penrose inverse of a matrix S [words, dim], kept as three factors.

    With S = U diag(s) Vᵀ over the singular values above the cutoff,
    S⁺ = V diag(1/s) Uᵀ, and with a ridge λ, S⁺ = V diag(s/(s² + λ)) Uᵀ.

    Attributes:
      u: [words, rank], with orthonormal columns.
      s: [rank], the singular values, descending.
      vt: [rank, dim], with orthonormal rows.
      numerical_rank: the rank of S in float64, whatever the cutoff is.
      ridge: λ.
    """

    u: Float[np.ndarray, "words rank"]
    s: Float[np.ndarray, " rank"]
    vt: Float[np.ndarray, "rank dim"]
    numerical_rank: int
    ridge: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.u), self.vt.shape[1]

    @property
    def condition_number(self) -> float:
        """The largest singular value divided by the smallest one kept; with a ridge,
        those of S with √λ I below it.
        """
        first, last = (float(np.hypot(s, np.sqrt(self.ridge))) for s in self.s[[0, -1]])
        return first / last

    @property
    def _inverted(self) -> Float[np.ndarray, " rank"]:
        # Without a ridge, this is 1/s to the bit.
        return 1 / (self.s + self.ridge / self.s)

    def coefficients(
        self, vectors: Float[np.ndarray, "vectors dim"], *, refine: bool = True
    ) -> Float[np.ndarray, "vectors words"]:
        """Returns P S⁺. There is nothing to refine."""
        return ((vectors @ self.vt.T) * self._inverted) @ self.u.T

    def solve(
        self,
        target: Float[np.ndarray, "words target_dim"],
        rough: Float[np.ndarray, "dim target_dim"] | None = None,
    ) -> Float[np.ndarray, "dim target_dim"]:
        """Returns S⁺T, the minimum-norm W that minimizes ‖SW − T‖² + λ‖W‖²."""
        return self.vt.T @ ((self.u.T @ target) * self._inverted[:, None])

    def dense(self) -> Float[np.ndarray, "dim words"]:
        return (self.vt.T * self._inverted) @ self.u.T


def pseudo_inverse(
    source: WordEmbeddings, rcond: float | None = None, ridge: float = 0.0
) -> PseudoInverse:
    """Returns the pseudo-inverse of the source's embeddings.

    Args:
      source: [words, dim].
      rcond: singular values below this share of the largest one count as zero. The
        default is float64's eps times the longer side.
      ridge: λ, at least 0.

    Raises:
      RecyclingError: every singular value is zero.
    """
    u, s, vt = source.svd
    cutoff = float(np.finfo(np.float64).eps) * max(source.array.shape)
    numerical = int(np.sum(s > cutoff * s[0]))
    rank = numerical if rcond is None else int(np.sum(s > rcond * s[0]))
    if rank == 0:
        raise RecyclingError("the source's embeddings of these words are all zero.")
    return PseudoInverse(u[:, :rank], s[:rank], vt[:rank], numerical, ridge)
