"""Gap of a metric between groups of users, and its growth from one model to another."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.metrics.significance import Interval

_BLOCK = 50
"""Resamples held in memory together."""


@dataclass(frozen=True, slots=True)
class _GroupSums:
    """Sums and counts of each user in each group, shape (n_users, n_groups) each."""

    challenger: Float64
    champion: Float64
    counts: Float64

    @classmethod
    def of(
        cls,
        challenger_values: Float64,
        champion_values: Float64,
        user_idx: npt.NDArray[np.integer],
        level_idx: Int64,
    ) -> Self:
        """Sums of the targets whose level is known."""
        is_known = level_idx >= 0
        users, user_rows = np.unique(user_idx[is_known], return_inverse=True)
        levels, level_rows = np.unique(level_idx[is_known], return_inverse=True)
        cells, shape = user_rows * len(levels) + level_rows, (len(users), len(levels))

        def sums(values: Float64) -> Float64:
            totals = np.bincount(cells, values[is_known], minlength=shape[0] * shape[1])
            return np.asarray(totals, np.float64).reshape(shape)

        return cls(
            sums(challenger_values), sums(champion_values), sums(np.ones(len(challenger_values)))
        )

    def gap_growth(self, user_weights: Float64) -> Float64:
        """Gap of the challenger minus that of the champion, shape (n_resamples,).

        Args:
            user_weights: Times that each user counts, shape (n_resamples, n_users).
        """
        counts = np.maximum(user_weights @ self.counts, 1e-12)  # (n_resamples, n_groups)
        means = (user_weights @ sums / counts for sums in (self.challenger, self.champion))
        challenger_gap, champion_gap = (np.ptp(group_means, axis=1) for group_means in means)
        growth: Float64 = challenger_gap - champion_gap
        return growth


def gap_growth(
    challenger_values: Float64,
    champion_values: Float64,
    user_idx: npt.NDArray[np.integer],
    level_idx: Int64,
    *,
    n_resamples: int = 500,
    seed: int = 0,
) -> Interval:
    """Growth of the largest difference between groups' means, with a Poisson bootstrap over users.

    Args:
        challenger_values: Metric of each target, shape (n_targets,).
        champion_values: The same of the model to compare with, shape (n_targets,).
        user_idx: User of each target, shape (n_targets,).
        level_idx: Group of each target, -1 for none, shape (n_targets,).
        n_resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Example:
        >>> values, groups = np.array([1.0, 0.0]), np.array([0, 1])
        >>> gap_growth(values, 0 * values, np.array([1, 2]), groups).estimate
        1.0
    """
    group_sums = _GroupSums.of(challenger_values, champion_values, user_idx, level_idx)
    n_users = len(group_sums.counts)
    random_generator = np.random.default_rng(seed)
    resampled = [
        group_sums.gap_growth(
            random_generator.poisson(1.0, (min(_BLOCK, n_resamples - begin), n_users)).astype(
                np.float64
            )
        )
        for begin in range(0, n_resamples, _BLOCK)
    ]
    low, high = np.quantile(np.concatenate(resampled), [0.025, 0.975])
    (estimate,) = group_sums.gap_growth(np.ones((1, n_users)))
    return Interval(float(estimate), float(low), float(high))
