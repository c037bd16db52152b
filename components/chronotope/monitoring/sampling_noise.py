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
    user_codes: npt.NDArray[np.integer], value_codes: Int64, n_codes: int, n_groups: int = GROUPS
) -> Float64:
    """Counts of the codes in each group of users, shape (n_groups, n_codes).

    Args:
        user_codes: Number of the user of each row, shape (n,).
        value_codes: What was counted, -1 is left out, shape (n,).
        n_codes: Number of codes.
        n_groups: Number of groups.
    """
    is_valid = value_codes >= 0
    flat_idx = (user_codes[is_valid] % n_groups).astype(np.int64) * n_codes + value_codes[is_valid]
    value_counts = np.bincount(flat_idx, minlength=n_groups * n_codes)
    return value_counts.reshape(n_groups, n_codes).astype(np.float64)


def effective_noise(group_counts: Float64) -> float:
    """One over the number of rows drawn singly that would tell as much as these of users.

    ``d / n`` with the mean design effect ``d = sum_b n var(p_b) / p_b / (B - 1)``, at least 1,
    whose variances are those between groups.

    Args:
        group_counts: What ``counts_by_group`` gave, shape (G, B).

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

    Resampling adds the noise of sampling a second time; ``2 d - d*`` takes it out of both
    ends (Davison & Hinkley 1997, 5.2).

    Args:
        current_groups: What ``counts_by_group`` gave for one window, shape (G, B).
        reference_groups: The same for the other, the same users in the same groups.
        divergence_fn: Of two distributions along the last axis.
        monitor_config: Resamples and seed.
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
    """Mean and its standard error, rows of one user being alike.

    Args:
        observed_values: One a row, shape (n,), n > 0.
        user_codes: Whose row it is, shape (n,).
    """
    group_codes = np.unique(user_codes, return_inverse=True)[1]
    mean_value = float(observed_values.mean())
    deviations = np.bincount(group_codes, weights=observed_values - mean_value)
    return mean_value, float(np.sqrt((deviations**2).sum())) / len(observed_values)


def subsample_counts(value_counts: Float64, random_seed: int) -> Float64:
    """Counts with no more rows than the last window's, drawn from each larger one.

    Drawn without replacement, so that its noise becomes that of a window of this size.

    Args:
        value_counts: Of each window, whole numbers, shape (n, B).
        random_seed: Of the draw.
    """
    generator, is_valid = np.random.default_rng(random_seed), value_counts.copy()
    n_last_window = int(value_counts[-1].sum())
    for window_row in np.flatnonzero(value_counts.sum(axis=1) > n_last_window):
        resampled = generator.multivariate_hypergeometric(
            value_counts[window_row].astype(np.int64), n_last_window, method="marginals"
        )
        is_valid[window_row] = resampled
    return is_valid


def rescale_divergences(observed_values: Float64, expected_noise: Float64) -> Float64:
    """Divergences of smaller windows as they would be with as many rows as the last one had.

    What sampling accounts for, ``min(d_i, e_i)``, is brought to the last window's size; what
    goes beyond it may be real and stays.

    Args:
        observed_values: Divergences d, the current one last, shape (K + 1,).
        expected_noise: What sampling alone leads one to expect of each, shape (K + 1,).
    """
    by_chance = np.minimum(observed_values, expected_noise)
    return np.asarray(observed_values - by_chance + by_chance * expected_noise[-1] / expected_noise)


def _shares(value_counts: Float64) -> Float64:
    return np.asarray(value_counts / np.maximum(value_counts.sum(axis=-1, keepdims=True), 1))
