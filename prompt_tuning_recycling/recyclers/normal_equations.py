"""The pseudo-inverse by normal equations: the Cholesky factor of a Gram matrix.

For S [words, dim] with at least as many words as dimensions, S⁺ = (SᵀS)⁻¹Sᵀ, otherwise
S⁺ = Sᵀ(SSᵀ)⁻¹. A ridge λ is added to the Gram matrix's diagonal. This takes a fraction
of the time of a singular value decomposition. It loses twice as many digits to the
condition number of S, and one step of iterative refinement brings them back: the error
is multiplied by about eps · condition² (Björck 1996, Numerical Methods for Least
Squares Problems). That is why `factor` refuses matrices that are too ill-conditioned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from prompt_tuning_recycling.words import WordEmbeddings

if TYPE_CHECKING:
    from jaxtyping import Float

MAX_CONDITION = 1e4
"""Up to this condition number, a refined solution is as good as an orthogonal method's:
(30 · eps · condition²)² is below eps · condition."""

# Sizes up to which all singular values take no time worth saving.
_SMALL = 256
# ARPACK's tolerance; the extreme eigenvalues are found to less than a tenth of it.
_TOLERANCE = 3e-3


@dataclasses.dataclass(frozen=True, eq=False)
class NormalEquations:
    """S⁺ by the Cholesky factor of S's smaller Gram matrix.

    Attributes:
      array: S, float64 [words, dim].
      upper: R [k, k] with RᵀR = SᵀS + λI or SSᵀ + λI, k = min(words, dim), in Fortran's
        order; what is below its diagonal is not used.
      ridge: λ.
      condition_number: the largest singular value of R divided by the smallest. Without
        a ridge, it is that of S.
    """

    array: Float[np.ndarray, "words dim"]
    upper: Float[np.ndarray, "k k"]
    ridge: float
    condition_number: float

    @property
    def shape(self) -> tuple[int, int]:
        words, dim = self.array.shape
        return words, dim

    @property
    def is_wide(self) -> bool:
        """Whether there are fewer words than dimensions."""
        return self.shape[0] < self.shape[1]

    def coefficients(
        self, vectors: Float[np.ndarray, "vectors dim"], *, refine: bool = True
    ) -> Float[np.ndarray, "vectors words"]:
        """Returns P S⁺.

        Args:
          vectors: P, float64.
          refine: whether to take the step of refinement.
        """
        s = self.array
        if self.is_wide:
            found = self.solve_rows(vectors @ s.T)
            if refine:
                rest = (vectors - found @ s) @ s.T
                found += self.solve_rows(rest - self.ridge * found)
            return found
        half = self.solve_rows(vectors.copy())
        found = half @ s.T
        if not refine:
            return found
        half += self.solve_rows(vectors - found @ s - self.ridge * half)
        return half @ s.T

    def solve(
        self,
        target: Float[np.ndarray, "words target_dim"],
        rough: Float[np.ndarray, "dim target_dim"] | None = None,
    ) -> Float[np.ndarray, "dim target_dim"]:
        """Returns S⁺T, refined.

        Args:
          target: T, float64.
          rough: S⁺T without refinement, if it is known. It is used where there are at
            least as many words as dimensions.
        """
        s = self.array
        if self.is_wide:
            dual = self.dual(target)
            rest = target - s @ (s.T @ dual) - self.ridge * dual
            return np.ascontiguousarray(s.T @ (dual + self.dual(rest)))
        # Transposed, because LAPACK wants each right-hand side in one piece.
        found = self.solve_rows(target.T @ s).T if rough is None else rough
        rest = s @ found
        np.subtract(target, rest, out=rest)
        step = rest.T @ s
        if self.ridge:
            step -= self.ridge * found.T
        return np.ascontiguousarray(found + self.solve_rows(step).T)

    def dual(
        self, target: Float[np.ndarray, "words target_dim"]
    ) -> Float[np.ndarray, "words target_dim"]:
        """Returns X = (SSᵀ + λI)⁻¹T, for which S⁺T = SᵀX, without refinement. Only for
        fewer words than dimensions.
        """
        return self.solve_rows(np.array(target.T, order="C")).T

    def dense(self) -> Float[np.ndarray, "dim words"]:
        return self.coefficients(np.eye(self.shape[1]))

    def solve_rows(
        self, rows: Float[np.ndarray, "rows k"]
    ) -> Float[np.ndarray, "rows k"]:
        """Returns B(RᵀR)⁻¹ without refinement. B, in C's order, is overwritten."""
        from scipy.linalg import lapack

        solved, failed = lapack.dpotrs(self.upper, rows.T, lower=0, overwrite_b=1)
        if failed:
            raise AssertionError(f"dpotrs: argument {-failed} is wrong.")
        return solved.T


def factor(source: WordEmbeddings, ridge: float = 0.0) -> NormalEquations | None:
    """Returns S⁺ by normal equations, or None if S is too ill-conditioned for them.

    Call it through `source.once`, which shares the result.

    Args:
      source: the source's embeddings S [words, dim].
      ridge: λ, at least 0.
    """
    from scipy.linalg import lapack

    array = source.array
    words, dim = array.shape
    # The other Gram matrix is of no use to other recyclers.
    gram = array @ array.T if words < dim else source.gram.copy()
    gram[np.diag_indices_from(gram)] += ridge
    upper, failed = lapack.dpotrf(gram.T, lower=0, clean=0, overwrite_a=1)
    if failed:
        return None
    condition = condition_number(upper)
    if not condition <= MAX_CONDITION:
        return None
    return NormalEquations(array, upper, ridge, condition)


def condition_number(upper: Float[np.ndarray, "k k"]) -> float:
    """Returns the 2-norm condition number of an upper triangular matrix, to three
    digits or more. What is below the diagonal is not used.

    For large matrices, it comes from the extreme eigenvalues of RᵀR and (RᵀR)⁻¹, by
    Lanczos's method from a fixed start (Lehoucq, Sorensen and Yang 1998, ARPACK). The
    estimates approach the condition number from below.
    """
    if len(upper) <= _SMALL:
        singular = np.linalg.svd(np.triu(upper), compute_uv=False)
        return float(singular[0] / singular[-1]) if singular[-1] else float("inf")
    from scipy.linalg import blas

    largest = _largest_eigenvalue(
        lambda v: blas.dtrmv(upper, blas.dtrmv(upper, v), trans=1), len(upper)
    )
    inverse = _largest_eigenvalue(
        lambda v: blas.dtrsv(upper, blas.dtrsv(upper, v, trans=1)), len(upper)
    )
    return float(np.sqrt(largest * inverse))


def _largest_eigenvalue(
    multiply: Callable[[Float[np.ndarray, " k"]], Float[np.ndarray, " k"]], size: int
) -> float:
    from scipy.sparse import linalg

    operator = linalg.LinearOperator((size, size), matvec=multiply, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    (found,) = linalg.eigsh(
        operator,
        k=1,
        which="LA",
        v0=start,
        tol=_TOLERANCE,
        return_eigenvectors=False,
    )
    return float(found)
