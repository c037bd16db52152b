"""Significance of metrics: bootstrap interval and paired test, clustered by user.

Targets of one user are correlated, so users are the unit of resampling, not targets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64

_BLOCK_ENTRIES = 4_000_000
"""Resampled entries held in memory together."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its user-clustered bootstrap interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of a - b, its interval, and a two-sided p-value (sign flips by user)."""

    estimate: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    target_values: Float64,
    user_idx: npt.NDArray[np.integer],
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a mean, by resampling users with all their targets.

    Args:
        target_values: Metric of each target, shape (n_targets,).
        user_idx: User of each target, shape (n_targets,).
        n_resamples: Number of bootstrap resamples.
        level: Coverage probability of the interval.
        seed: Seed of the resampling.

    Returns:
        The mean and its interval.

    Raises:
        DataError: Shapes differ or there is no target.

    Example:
        >>> bootstrap_interval(np.array([1.0, 1.0, 1.0]), np.array([1, 1, 2]))
        Interval(estimate=1.0, low=1.0, high=1.0)
    """
    user_sums, user_counts = _sums_by_user(target_values, user_idx)
    n_users = len(user_sums)
    random_generator = np.random.default_rng(seed)
    resampled_means = np.empty(n_resamples, dtype=np.float64)
    for block in _blocks(n_resamples, n_users):
        drawn_users = random_generator.integers(n_users, size=(block.stop - block.start, n_users))
        resampled_means[block] = user_sums[drawn_users].sum(axis=1) / user_counts[drawn_users].sum(
            axis=1
        )
    low, high = np.quantile(resampled_means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(user_sums.sum() / user_counts.sum()), float(low), float(high))


def paired_difference(
    challenger_values: Float64,
    champion_values: Float64,
    user_idx: npt.NDArray[np.integer],
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Paired test of the difference of two models on the same targets.

    The interval resamples users; the p-value flips the sign of each user's summed
    difference, which is exact if neither model is better.

    Args:
        challenger_values: Challenger's metric of each target, shape (n_targets,).
        champion_values: Champion's metric of the same targets, shape (n_targets,).
        user_idx: User of each target, shape (n_targets,).
        n_resamples: Number of bootstrap resamples and of sign flips.
        level: Coverage probability of the interval.
        seed: Seed of both.

    Returns:
        The mean difference (positive: the challenger is better), its interval and p-value.

    Raises:
        DataError: Shapes differ or there is no target.
    """
    if np.shape(challenger_values) != np.shape(champion_values):
        raise DataError(
            "Paired values must come from the same targets",
            received=f"shapes {np.shape(challenger_values)} and {np.shape(champion_values)}",
        )
    differences = np.asarray(challenger_values, dtype=np.float64) - np.asarray(
        champion_values, dtype=np.float64
    )
    interval = bootstrap_interval(
        differences, user_idx, n_resamples=n_resamples, level=level, seed=seed
    )
    user_sums, _ = _sums_by_user(differences, user_idx)
    random_generator = np.random.default_rng([seed, 1])
    n_extreme = 0
    # the tolerance lets a flip that gives the observed sum again count, whatever the rounding
    threshold = abs(user_sums.sum()) - 1e-12 * np.abs(user_sums).sum()
    for block in _blocks(n_resamples, len(user_sums)):
        flip_shape = (block.stop - block.start, len(user_sums))
        sign_flips = random_generator.choice(np.array([-1.0, 1.0]), size=flip_shape)
        n_extreme += int((np.abs(sign_flips @ user_sums) >= threshold).sum())
    p_value = (1 + n_extreme) / (1 + n_resamples)
    return PairedDifference(interval.estimate, interval.low, interval.high, p_value)


def _sums_by_user(
    target_values: Float64, user_idx: npt.NDArray[np.integer]
) -> tuple[Float64, Float64]:
    """Sum and number of the values of each user, shape (n_users,) both."""
    if len(target_values) == 0 or np.shape(target_values) != np.shape(user_idx):
        raise DataError(
            "One value and one user a target, and at least one target, are needed",
            received=f"shapes {np.shape(target_values)} and {np.shape(user_idx)}",
        )
    _, user_code = np.unique(user_idx, return_inverse=True)
    user_sums = np.bincount(user_code, weights=target_values).astype(np.float64)
    return user_sums, np.bincount(user_code).astype(np.float64)


def _blocks(n_rows: int, row_width: int) -> Iterator[slice]:
    block_len = max(1, _BLOCK_ENTRIES // row_width)
    starts = range(0, n_rows, block_len)
    return (slice(start, min(start + block_len, n_rows)) for start in starts)
