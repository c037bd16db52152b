"""Sampling noise of statistics whose independent units are users, not rows."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.monitoring.config import MonitorConfig

GROUPS = 4096
"""Users are put into at most so many groups, which are resampled whole."""

TAILS = (0.025, 0.975)
HALF_WIDTH = 1.96
"""Standard errors on either side of a mean in a 95 % interval."""


def counts_by_group(
    user: npt.NDArray[np.integer], codes: Int64, n_codes: int, n_groups: int = GROUPS
) -> Float64:
    """Counts of the codes in each group of users, shape (n_groups, n_codes).

    Args:
        user: Number of the user of each row, shape (n,).
        codes: What was counted, -1 is left out, shape (n,).
        n_codes: Number of codes.
        n_groups: Number of groups.
    """
    kept = codes >= 0
    flat = (user[kept] % n_groups).astype(np.int64) * n_codes + codes[kept]
    counts = np.bincount(flat, minlength=n_groups * n_codes)
    return counts.reshape(n_groups, n_codes).astype(np.float64)


def effective_noise(groups: Float64) -> float:
    """One over the number of rows drawn singly that would tell as much as these of users.

    ``d / n`` with the mean design effect ``d = sum_b n var(p_b) / p_b / (B - 1)``, at least 1,
    whose variances are those between groups.

    Args:
        groups: What ``counts_by_group`` gave, shape (G, B).

    Source: Rao & Scott (1981), first-order correction.
    """
    counts, n = groups.sum(axis=0), groups.sum()
    used = counts > 0
    shares = counts[used] / n
    off = groups[:, used] - groups.sum(axis=1, keepdims=True) * shares
    effect = ((off**2).sum(axis=0) / n / shares).sum() / max(1, len(shares) - 1)
    return max(1.0, float(effect)) / float(n)


def divergence_interval(
    now: Float64,
    before: Float64,
    divergence: Callable[[npt.ArrayLike, npt.ArrayLike], Float64],
    config: MonitorConfig,
) -> tuple[float, float]:
    """Basic 95 % bootstrap interval of a divergence, resampling groups of users.

    Resampling adds the noise of sampling a second time; ``2 d - d*`` takes it out of both
    ends (Davison & Hinkley 1997, 5.2).

    Args:
        now: What ``counts_by_group`` gave for one window, shape (G, B).
        before: The same for the other, the same users in the same groups.
        divergence: Of two distributions along the last axis.
        config: Resamples and seed.
    """
    some = (now.any(axis=1)) | (before.any(axis=1))
    rng = np.random.default_rng(config.seed)
    weights = rng.poisson(1.0, (config.n_resamples, int(some.sum()))).astype(np.float64)
    drawn = divergence(_shares(weights @ now[some]), _shares(weights @ before[some]))
    found = float(divergence(_shares(now.sum(axis=0)), _shares(before.sum(axis=0))))
    low, high = np.quantile(drawn, TAILS)
    return max(0.0, float(2 * found - high)), max(0.0, float(2 * found - low))


def clustered_mean(
    values: npt.NDArray[np.floating], user: npt.NDArray[np.integer]
) -> tuple[float, float]:
    """Mean and its standard error, rows of one user being alike.

    Args:
        values: One a row, shape (n,), n > 0.
        user: Whose row it is, shape (n,).
    """
    code = np.unique(user, return_inverse=True)[1]
    mean = float(values.mean())
    off = np.bincount(code, weights=values - mean)
    return mean, float(np.sqrt((off**2).sum())) / len(values)


def subsample_counts(counts: Float64, seed: int) -> Float64:
    """Counts with no more rows than the last window's, drawn from each larger one.

    Drawn without replacement, so that its noise becomes that of a window of this size.

    Args:
        counts: Of each window, whole numbers, shape (n, B).
        seed: Of the draw.
    """
    rng, kept = np.random.default_rng(seed), counts.copy()
    most = int(counts[-1].sum())
    for row in np.flatnonzero(counts.sum(axis=1) > most):
        drawn = rng.multivariate_hypergeometric(
            counts[row].astype(np.int64), most, method="marginals"
        )
        kept[row] = drawn
    return kept


def rescale_divergences(values: Float64, expected: Float64) -> Float64:
    """Divergences of smaller windows as they would be with as many rows as the last one had.

    What sampling accounts for, ``min(d_i, e_i)``, is brought to the last window's size; what
    goes beyond it may be real and stays.

    Args:
        values: Divergences d, the current one last, shape (K + 1,).
        expected: What sampling alone leads one to expect of each, shape (K + 1,).
    """
    by_chance = np.minimum(values, expected)
    return np.asarray(values - by_chance + by_chance * expected[-1] / expected)


def _shares(counts: Float64) -> Float64:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1))
