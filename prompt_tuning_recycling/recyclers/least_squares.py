"""Least squares in float64, with the minimum-norm solution if there are several.

The pseudo-inverse comes from normal equations where the condition number allows it, and
from a singular value decomposition otherwise. The rank and the condition number are
reported either way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps import FactoredCombination, FactoredLinear
from prompt_tuning_recycling.models.floats import EPS, coarsest
from prompt_tuning_recycling.recyclers import normal_equations
from prompt_tuning_recycling.recyclers import ridge as ridges
from prompt_tuning_recycling.recyclers.base import Fit
from prompt_tuning_recycling.recyclers.normal_equations import NormalEquations
from prompt_tuning_recycling.recyclers.pseudo_inverse import (
    PseudoInverse,
    pseudo_inverse,
)
from prompt_tuning_recycling.words import WordEmbeddings

if TYPE_CHECKING:
    from jaxtyping import Float

    Inverse: TypeAlias = NormalEquations | PseudoInverse

# A residual below this has lost too many digits in the difference of squares.
_CANCELED = 1e-2


def check_parameters(rcond: float | None, ridge: float | str | None) -> None:
    """Raises RecyclingError unless `rcond` is None or lies in [0, 1), `ridge` is None,
    "auto" or a number of at least 0, and one of them is None.
    """
    if rcond is not None and not 0 <= rcond < 1:
        raise RecyclingError(
            "expected rcond, the share of the largest singular value below which "
            f"others count as zero, to be in [0, 1), got {rcond}."
        )
    ridges.check(ridge)
    if rcond is not None and ridge is not None:
        raise RecyclingError(
            f"expected rcond or ridge, found both ({rcond:g} and {ridge!r}). Each of "
            "them keeps a map from amplifying noise; give one."
        )


def fit(
    source: WordEmbeddings,
    target: WordEmbeddings,
    map_class: type[FactoredLinear] | type[FactoredCombination],
    rcond: float | None = None,
    ridge: float | str | None = None,
) -> Fit:
    """Returns the least-squares map P' = P S⁺ T, with diagnostics and warnings.

    Recyclers that are fitted on the same `source` share S⁺.

    Args:
      source: the source's embeddings S [words, source_dim].
      target: the target's embeddings T [words, target_dim].
      map_class: which factors the map is to show.
      rcond: singular values below this share of the largest one count as zero; None for
        float64's eps times the longer side.
      ridge: see `ridge.py`; "auto" for the one with the least leave-one-out error.

    Raises:
      RecyclingError: S is zero.
    """
    facts: dict[str, object] = {}
    chosen = 0.0
    if ridge == ridges.AUTO:
        left_out = ridges.left_out_residuals(source, target)
        chosen = min(left_out, key=left_out.__getitem__)
        facts = {"ridge": chosen, "leave_one_out_residual": left_out[chosen]}
    elif ridge is not None:
        chosen = float(ridge)
        facts = {"ridge": chosen}
    inverse = _inverse(source, rcond, chosen * ridges.mean_square(source))
    rough, residual = _first_look(inverse, source, target)
    return Fit(
        map_class(inverse, target.array, rough),
        {**_diagnostics(inverse), **facts},
        tuple(_warnings(inverse, source, target, rcond)),
        residual,
    )


def _inverse(source: WordEmbeddings, rcond: float | None, ridge: float) -> Inverse:
    """Returns S⁺ by normal equations if it is well enough conditioned."""
    # Only singular values say which of them are below `rcond`.
    if rcond is None:
        factored = source.once(normal_equations.factor, ridge)
        if factored is not None:
            return factored
    return pseudo_inverse(source, rcond, ridge)


def _first_look(
    inverse: Inverse, source: WordEmbeddings, target: WordEmbeddings
) -> tuple[Float[np.ndarray, "source_dim target_dim"] | None, float | None]:
    """Returns a rough map and the fit's residual, where they come for little or
    nothing.
    """
    if isinstance(inverse, PseudoInverse):
        return None, None
    if not inverse.is_wide:
        return source.once(_solved, target, inverse)
    if not inverse.ridge:
        # The words are independent: the map takes each one to its image.
        return None, 0.0
    # T − SW = T − SSᵀX = λX.
    left = inverse.ridge * np.linalg.norm(inverse.dual(target.array))
    return None, float(left / np.linalg.norm(target.array))


def _solved(
    source: WordEmbeddings, target: WordEmbeddings, inverse: NormalEquations
) -> tuple[Float[np.ndarray, "source_dim target_dim"], float | None]:
    """Returns the map W without refinement, and the fit's residual.

    With (SᵀS + λI)W = SᵀT, ‖T − SW‖² = ‖T‖² − ⟨SᵀT, W⟩ − λ‖W‖².
    """
    image = target.array.T @ source.array
    square = float(np.vdot(target.array, target.array))
    rough = inverse.solve_rows(image.copy()).T
    explained = float(np.vdot(image.T, rough)) + inverse.ridge * float(
        np.vdot(rough, rough)
    )
    residual = math.sqrt(max(0.0, 1 - explained / square))
    return rough, residual if residual > _CANCELED else None


def _diagnostics(inverse: Inverse) -> dict[str, object]:
    """Returns the facts about the system that was solved.

    With a ridge, every direction takes part by a weight, the solution is the only one,
    and the condition number is that of S with √λ I below it.
    """
    rank = len(inverse.s) if isinstance(inverse, PseudoInverse) else min(inverse.shape)
    facts: dict[str, object] = {"condition_number": inverse.condition_number}
    if not inverse.ridge:
        facts = {"rank": rank, **facts}
    return {**facts, "minimum_norm": not inverse.ridge and rank < inverse.shape[1]}


def _warnings(
    inverse: Inverse,
    source: WordEmbeddings,
    target: WordEmbeddings,
    rcond: float | None,
) -> list[str]:
    """Returns what a user should know about the solution."""
    words, dim = inverse.shape
    found = []
    if words < dim:
        which = "ridge map" if inverse.ridge else "smallest such map (minimum norm)"
        found.append(
            f"{words} words determine only part of a map from {dim} dimensions; the "
            f"{which} was taken. It drops what lies outside the span of the words. "
            "More words would determine the rest."
        )
    if not inverse.ridge:
        found += _threshold_warning(words, dim)
        if isinstance(inverse, PseudoInverse):
            found += _rank_warnings(inverse, rcond)
    stored_as = coarsest(source.stored_as, target.stored_as)
    return [*found, *_conditioning_warning(inverse.condition_number, stored_as)]


def _threshold_warning(words: int, dim: int) -> list[str]:
    """Returns a warning if about as many words as dimensions make the map fit noise.

    At this interpolation threshold the error on other words peaks; see
    docs/wide_models.md.
    """
    if not dim / 2 < words < 2 * dim:
        return []
    return [
        f"{words} words for {dim} dimensions are near the interpolation threshold of "
        "least squares, where the map fits these words' noise and is worst on others. "
        "Take all words of the list (--num_words=all, NUM_WORDS = None in gin), or set "
        "ridge='auto'."
    ]


def _rank_warnings(inverse: PseudoInverse, rcond: float | None) -> list[str]:
    """Returns what a user should know about directions that were left out."""
    possible, numerical = min(inverse.shape), inverse.numerical_rank
    rank = len(inverse.s)
    found = []
    if numerical < possible:
        found.append(
            f"the source's embeddings of these words have rank {numerical} where "
            f"{possible} was possible; "
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
