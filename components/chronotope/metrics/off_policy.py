"""Off-policy evaluation: value of a target policy, from lists that a random policy showed.

The value of a list of n positions is its number of hits. The item-position model assumes that
a hit depends on the query, the item and its position, not on its neighbours; then with
propensities p_ij = P[item i is shown at j], the target policy's probabilities t_ij, and
w_ij = t_ij / p_ij:

- IPS    ``mean over lists of sum_j w_ij r_ij``: unbiased; wide where weights are large;
- SNIPS  ``(sum w r / sum w) * positions a list``: biased by O(1/n), and narrower;
- DR     ``mean over lists of sum_j [q(target's item at j) + w_ij (r_ij - q_ij)]``: unbiased
  for any reward model q, and narrower the better q is.

Source: Horvitz and Thompson (1952); Swaminathan and Joachims (2015), The Self-Normalized
Estimator; Dudik, Langford and Li (2011), Doubly Robust Policy Evaluation; Li et al. (2018),
Offline Evaluation of Ranking Policies with Click Models, for the item-position model.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import DataError, NotEnoughData
from chronotope.contracts.event_log import Float64
from chronotope.metrics.significance import Interval

_BLOCK_ENTRIES = 4_000_000
"""Resampled entries held in memory together."""


@dataclass(frozen=True, slots=True)
class LoggedImpressions:
    """Shown positions of all lists, one row each.

    Attributes:
        list_idx: Number of the list, 0 to n_lists - 1, shape (n,).
        user: User of the list, shape (n_lists,).
        reward: 1 if the item was hit, shape (n,).
        propensity: Probability that the item was shown there, shape (n,).
        target: Probability that the target policy shows it there, shape (n,).
        q: Expected reward of the shown item by the reward model, shape (n,).
        q_target: Expected reward of the target policy's item there, shape (n,).
    """

    list_idx: npt.NDArray[np.int64]
    user: npt.NDArray[np.int64]
    reward: Float64
    propensity: Float64
    target: Float64
    q: Float64
    q_target: Float64


@dataclass(frozen=True, slots=True)
class OffPolicyEstimates:
    """Estimated hits a list, with intervals by resampling users.

    Attributes:
        logged: Value of the logged policies.
        ips, snips, dr: Value of the target policy by each estimator.
        gain: DR minus the logged value, on the same resamples.
        n_lists, n_users: Sample sizes.
        effective_n: Effective sample size ``(sum w)^2 / sum w^2``.
        mean_weight: 1 on average if the logged policy covers the target policy; less if not.
        max_weight: Largest weight after clipping.
        clipped: Share of the positions with a clipped weight; clipping lowers the value.
    """

    logged: Interval
    ips: Interval
    snips: Interval
    dr: Interval
    gain: Interval
    n_lists: int
    n_users: int
    effective_n: float
    mean_weight: float
    max_weight: float
    clipped: float


def estimate_off_policy(
    impressions: LoggedImpressions,
    *,
    clip: float | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> OffPolicyEstimates:
    """Value of the target policy by IPS, SNIPS and DR.

    Args:
        impressions: Logged positions with rewards and both policies' probabilities.
        clip: Largest weight; None clips none. Clipping trades variance for bias.
        n_resamples: Number of bootstrap resamples of users.
        level: Coverage probability of the intervals.
        seed: Seed of the resampling.

    Raises:
        NotEnoughData: There is no list.
        DataError: A propensity is not in (0, 1].
    """
    weights, is_clipped = _importance_weights(impressions, clip)
    user_sums = _sums_by_user(impressions, weights)
    random_generator = np.random.default_rng(seed)
    block_sizes = _block_sizes(n_resamples, len(user_sums))
    resampled_values = np.concatenate(
        [
            _policy_values(_resampled_sums(user_sums, random_generator, size))
            for size in block_sizes
        ],
        axis=1,
    )  # (5, n_resamples)
    quantiles = [(1 - level) / 2, (1 + level) / 2]
    bounds = np.quantile(resampled_values, quantiles, axis=1).T  # (5, 2)
    estimates = _policy_values(user_sums.sum(axis=0)[None])[:, 0]  # (5,)
    logged, ips, snips, dr, gain = (
        Interval(float(estimate), float(low), float(high))
        for estimate, (low, high) in zip(estimates, bounds, strict=True)
    )
    return OffPolicyEstimates(
        logged=logged,
        ips=ips,
        snips=snips,
        dr=dr,
        gain=gain,
        n_lists=len(impressions.user),
        n_users=len(user_sums),
        effective_n=float(weights.sum() ** 2 / max(float((weights**2).sum()), 1e-300)),
        mean_weight=float(weights.mean()),
        max_weight=float(weights.max()),
        clipped=float(is_clipped.mean()),
    )


def _importance_weights(
    impressions: LoggedImpressions, clip: float | None
) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """Weights of the positions, clipped, and whether each was clipped, shape (n,) both."""
    propensity = impressions.propensity
    if not len(impressions.reward):
        raise NotEnoughData("No list was drawn at random: there is nothing to estimate from")
    if not ((propensity > 0) & (propensity <= 1 + 1e-9)).all():
        raise DataError(
            "Propensities are probabilities above 0",
            received=f"{propensity.min()} to {propensity.max()}",
        )
    raw_weights = impressions.target / propensity
    max_weight = np.inf if clip is None else clip
    return np.minimum(raw_weights, max_weight), raw_weights > max_weight


def _sums_by_user(impressions: LoggedImpressions, weights: Float64) -> Float64:
    """Sums of each user: lists, positions, r, w, w r, and the terms of DR, shape (n_users, 6)."""
    _, list_user = np.unique(impressions.user, return_inverse=True)
    row_user = list_user[impressions.list_idx]
    rewards = impressions.reward
    dr_terms = impressions.q_target + weights * (rewards - impressions.q)
    row_terms = (np.ones(len(weights)), rewards, weights, weights * rewards, dr_terms)
    n_lists = np.bincount(list_user).astype(np.float64)
    term_sums = (np.bincount(row_user, terms, len(n_lists)) for terms in row_terms)
    return np.stack([n_lists, *term_sums], axis=1)


def _policy_values(sums: Float64) -> Float64:
    """Logged value, IPS, SNIPS, DR and its gain of sums over users, shape (5, n)."""
    n_lists, n_positions, reward, weight, weighted_reward, dr = sums.T
    mean_reward = np.divide(weighted_reward, weight, out=np.zeros_like(weight), where=weight > 0)
    snips = mean_reward * n_positions
    values: Float64 = np.stack([reward, weighted_reward, snips, dr, dr - reward]) / n_lists
    return values


def _resampled_sums(user_sums: Float64, rng: np.random.Generator, n_resamples: int) -> Float64:
    """Sums over users drawn with replacement, shape (n_resamples, 6)."""
    n_users = len(user_sums)
    drawn_users = rng.integers(n_users, size=(n_resamples, n_users))
    draw_counts = np.stack([np.bincount(draw, minlength=n_users) for draw in drawn_users])
    return draw_counts.astype(np.float64) @ user_sums


def _block_sizes(n_resamples: int, n_users: int) -> list[int]:
    block_size = max(1, _BLOCK_ENTRIES // n_users)
    return [min(block_size, n_resamples - start) for start in range(0, n_resamples, block_size)]
