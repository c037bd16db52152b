"""Sampling noise of statistics whose independent units are users, not events."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.monitoring.config import MonitorConfig

GROUPS = 4096
"""Maximum number of groups of users; groups are the units of resampling."""

TAILS = (0.025, 0.975)
"""Quantiles of a 95 % interval."""
HALF_WIDTH = 1.96
"""Half width of a 95 % interval, standard errors."""


def counts_by_group(
    user_codes: npt.NDArray[np.integer], value_codes: Int64, n_codes: int, n_groups: int = GROUPS
) -> Float64:
    """Count the codes of a column in each group of users.

    Args:
        user_codes: User of each row, shape (n,).
        value_codes: Code of each row; rows with -1 are not counted, shape (n,).
        n_codes: Number of codes.
        n_groups: Number of groups.

    Returns:
        Counts, shape (n_groups, n_codes).
    """
    is_valid = value_codes >= 0
    flat_idx = (user_codes[is_valid] % n_groups).astype(np.int64) * n_codes + value_codes[is_valid]
    value_counts = np.bincount(flat_idx, minlength=n_groups * n_codes)
    return value_counts.reshape(n_groups, n_codes).astype(np.float64)


def effective_noise(group_counts: Float64) -> float:
    """Inverse of the effective sample size of clustered counts, ``d / n``.

    The mean design effect ``d = sum_b n var(p_b) / p_b / (B - 1)``, at least 1, is computed from
    the variances between groups.

    Args:
        group_counts: Counts by group of users, from ``counts_by_group``, shape (G, B).

    Source: Rao & Scott (1981), first-order correction.
    """
    value_counts, n_rows = group_counts.sum(axis=0), group_counts.sum()
    is_used = value_counts > 0
    value_shares = value_counts[is_used] / n_rows
    deviations = group_counts[:, is_used] - group_counts.sum(axis=1, keepdims=True) * value_shares
    design_effect = ((deviations**2).sum(axis=0) / n_rows / value_shares).sum() / max(
        1, len(value_shares) - 1
    )
    return max(1.0, float(design_effect)) / float(n_rows)


def divergence_interval(
    current_groups: Float64,
    reference_groups: Float64,
    divergence_fn: Callable[[npt.ArrayLike, npt.ArrayLike], Float64],
    monitor_config: MonitorConfig,
) -> tuple[float, float]:
    """Basic 95 % bootstrap interval of a divergence, resampling groups of users.

    Resampling adds sampling noise to a divergence d that already contains it; the basic
    interval, from ``2 d - d*``, corrects both ends for it (Davison & Hinkley 1997, 5.2).

    Args:
        current_groups: Counts of one window by group of users, shape (G, B).
        reference_groups: Counts of the other window for the same groups, shape (G, B).
        divergence_fn: Divergence of two distributions along the last axis.
        monitor_config: Number of resamples and seed.

    Returns:
        Lower and upper end, at least 0.
    """
    has_rows = (current_groups.any(axis=1)) | (reference_groups.any(axis=1))
    generator = np.random.default_rng(monitor_config.seed)
    resample_weights = generator.poisson(
        1.0, (monitor_config.n_resamples, int(has_rows.sum()))
    ).astype(np.float64)
    resampled = divergence_fn(
        _shares(resample_weights @ current_groups[has_rows]),
        _shares(resample_weights @ reference_groups[has_rows]),
    )
    observed_divergence = float(
        divergence_fn(_shares(current_groups.sum(axis=0)), _shares(reference_groups.sum(axis=0)))
    )
    low_value, high_value = np.quantile(resampled, TAILS)
    return max(0.0, float(2 * observed_divergence - high_value)), max(
        0.0, float(2 * observed_divergence - low_value)
    )


def clustered_mean(
    observed_values: npt.NDArray[np.floating], user_codes: npt.NDArray[np.integer]
) -> tuple[float, float]:
    """Mean, and its standard error clustered by user.

    Args:
        observed_values: Value of each row, shape (n,), n > 0.
        user_codes: User of each row, shape (n,).
    """
    group_codes = np.unique(user_codes, return_inverse=True)[1]
    mean_value = float(observed_values.mean())
    deviations = np.bincount(group_codes, weights=observed_values - mean_value)
    return mean_value, float(np.sqrt((deviations**2).sum())) / len(observed_values)


def subsample_counts(value_counts: Float64, random_seed: int) -> Float64:
    """Subsample the counts of windows that have more rows than the last one to its size.

    Rows are drawn without replacement, so that the sampling noise of all windows is that of the
    last one.

    Args:
        value_counts: Counts of each window, whole numbers, shape (n, B).
        random_seed: Seed of the draw.
    """
    generator, subsampled = np.random.default_rng(random_seed), value_counts.copy()
    n_last_window = int(value_counts[-1].sum())
    for window_row in np.flatnonzero(value_counts.sum(axis=1) > n_last_window):
        subsampled[window_row] = generator.multivariate_hypergeometric(
            value_counts[window_row].astype(np.int64), n_last_window, method="marginals"
        )
    return subsampled


def rescale_divergences(observed_values: Float64, expected_noise: Float64) -> Float64:
    """Rescale the divergences of smaller windows to the size of the last window.

    The part explained by sampling, ``min(d_i, e_i)``, is rescaled; the rest may be real drift and
    stays.

    Args:
        observed_values: Divergences d, the current window last, shape (K + 1,).
        expected_noise: Divergence e expected of each window from sampling alone, shape (K + 1,).
    """
    noise_part = np.minimum(observed_values, expected_noise)
    rescaled_noise = noise_part * expected_noise[-1] / expected_noise
    return np.asarray(observed_values - noise_part + rescaled_noise)


def _shares(value_counts: Float64) -> Float64:
    return np.asarray(value_counts / np.maximum(value_counts.sum(axis=-1, keepdims=True), 1))
