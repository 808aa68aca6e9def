"""Ways to carry a prompt over that were tried and are not shipped as recyclers.

Each is a function of S [words, source_dim] and T [words, target_dim], the two models'
embeddings of the same words with the rows s_i and t_i, and of a prompt
P [length, source_dim] with the rows p. All are float64. It returns the prompt
P' [length, target_dim] for the target. s̄ and t̄ are the means of the rows. The functions
are for many more words than dimensions, and the words must span all dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize
from scipy.spatial import distance

from prompt_tuning_recycling import recyclers

Method = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

SEEDS = range(5)
KERNEL_RIDGE = 0.1


def shipped(name: str) -> Method:
    """Returns a recycler as such a function."""
    return lambda s, t, p: recyclers.make(name).fit(s, t).map.apply(p)


def gcv_ridge(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """P' = P(SᵀS + λI)⁻¹SᵀT with the λ of generalized cross-validation.

    With A = S(SᵀS + λI)⁻¹Sᵀ, λ minimizes ‖(I − A)T‖² / (tr(I − A))² on a grid (Golub,
    Heath and Wahba 1979, https://doi.org/10.1080/00401706.1979.10489751).
    """
    u, sigma, vt = np.linalg.svd(s, full_matrices=False)
    image = u.T @ t
    outside = np.sum(t**2) - np.sum(image**2)

    def criterion(ridge: float) -> float:
        kept = sigma**2 / (sigma**2 + ridge)
        error = outside + np.sum(((1 - kept)[:, None] * image) ** 2)
        return float(error / (len(s) - kept.sum()) ** 2)

    ridge = min(sigma[0] ** 2 * np.logspace(-10, 2, 241), key=criterion)
    return (p @ vt.T * (sigma / (sigma**2 + ridge))) @ image


def centered(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """P' = t̄ + (P − s̄)W with W = argmin ‖(S − s̄)W − (T − t̄)‖²."""
    s_mean, t_mean = s.mean(axis=0), t.mean(axis=0)
    return t_mean + (p - s_mean) @ _least_squares(s - s_mean, t - t_mean)


def reduced_rank(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Least squares among the maps of half the smaller width as their rank.

    W = W₀VVᵀ, where W₀ is the map of least squares and V holds the first right singular
    vectors of SW₀ (Izenman 1975, https://doi.org/10.1016/0047-259X(75)90042-1).
    """
    rank = min(s.shape[1], t.shape[1]) // 2
    w = _least_squares(s, t)
    vt = np.linalg.svd(s @ w, full_matrices=False)[2][:rank]
    return p @ w @ vt.T @ vt


def canonical_correlation(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The source's canonical variates, taken for the target's as they are.

    S − s̄ = U_s Σ_s V_sᵀ, T − t̄ = U_t Σ_t V_tᵀ, and U_sᵀU_t = AΓBᵀ. Then
    P' = t̄ + (P − s̄) V_s Σ_s⁻¹ A Bᵀ Σ_t V_tᵀ. With the correlations Γ between A and Bᵀ
    it would be the map of `centered` (Hotelling 1936; by singular values: Björck and
    Golub 1973, https://doi.org/10.1090/S0025-5718-1973-0348991-3).
    """
    s_mean, t_mean = s.mean(axis=0), t.mean(axis=0)
    u_s, sigma_s, vt_s = np.linalg.svd(s - s_mean, full_matrices=False)
    u_t, sigma_t, vt_t = np.linalg.svd(t - t_mean, full_matrices=False)
    a, _, bt = np.linalg.svd(u_s.T @ u_t, full_matrices=False)
    variates = ((p - s_mean) @ vt_s.T / sigma_s) @ a
    return t_mean + (variates @ bt * sigma_t) @ vt_t


def corrected_lengths(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Least squares, then each vector gets the length ‖p‖ · m_t / m_s, where m_s and
    m_t are the medians of the words' lengths.
    """
    mapped = p @ _least_squares(s, t)
    scale = np.median(_lengths(t)) / np.median(_lengths(s))
    return mapped * (scale * _lengths(p) / _lengths(mapped))


def weighted_by(weights: np.ndarray | None = None) -> Method:
    """Returns W = argmin Σ_i w_i ‖s_i W − t_i‖² as a function.

    Args:
      weights: w_i, [words]; None means 1, 1/2, 1/3, ... in the order of the words.
    """

    def weighted(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
        w = 1 / np.arange(1, len(s) + 1) if weights is None else weights
        root = np.sqrt(w)[:, None]
        return p @ _least_squares(root * s, root * t)

    return weighted


def total_least_squares(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The smallest change of both S and T after which SW = T.

    [S T] = UΣVᵀ, and W = −V₁₂V₂₂⁻¹, where V₁₂ [source_dim, target_dim] and
    V₂₂ [target_dim, target_dim] are V's last columns (Golub and Van Loan 1980,
    https://doi.org/10.1137/0717073).
    """
    vt = np.linalg.svd(np.hstack([s, t]), full_matrices=False)[2]
    last = vt[s.shape[1] :].T
    v12, v22 = last[: s.shape[1]], last[s.shape[1] :]
    return -p @ np.linalg.solve(v22.T, v12.T).T


def kernel_ridge(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """P' = k(P, S)(K + λI)⁻¹T with k(x, y) = exp(−‖x − y‖² / 2h²).

    K = k(S, S), h is the median distance between two words, and λ is 0.1 times the mean
    of K's diagonal, which is 1.
    """
    between = distance.pdist(s)
    width = 2 * np.median(between) ** 2
    kernel = np.exp(-(distance.squareform(between) ** 2) / width)
    ridge = KERNEL_RIDGE * np.mean(np.diag(kernel)) * np.eye(len(s))
    near = np.exp(-distance.cdist(p, s, "sqeuclidean") / width)
    return near @ np.linalg.solve(kernel + ridge, t)


def non_negative(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """P' = cT with c = argmin ‖cS − p‖² over c of no negative number."""
    return np.stack([optimize.nnls(s.T, vector)[0] @ t for vector in p])


def networks(s: np.ndarray, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The mean of what `v2v-nn` makes of the prompt with five seeds."""
    made = [
        recyclers.make("v2v-nn", seed=seed).fit(s, t).map.apply(p) for seed in SEEDS
    ]
    return np.mean(made, axis=0)


def _least_squares(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(s, t, rcond=None)[0]


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1, keepdims=True)
