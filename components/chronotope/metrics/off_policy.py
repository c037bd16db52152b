"""What another policy would have been worth, from the lists that a random one showed.

A list of n positions is worth its hits. Whether an item is hit is taken to depend on the
question, the item and its position, not on its neighbours; then with propensities
p_ij = P[item i-j is shown at j] and the target's own probabilities t_ij, w_ij = t_ij / p_ij:

- IPS    ``mean over lists of sum_j w_ij r_ij``: unbiased; wide where weights are large;
- SNIPS  ``(sum w r / sum w) * positions a list``: biased by O(1/n), and narrower;
- DR     ``mean over lists of sum_j [q(target's item at j) + w_ij (r_ij - q_ij)]``: unbiased
  whatever the reward model q says, and narrower the better it is.

Source: Horvitz and Thompson (1952); Swaminathan and Joachims (2015), The Self-Normalized
Estimator; Dudik, Langford and Li (2011), Doubly Robust Policy Evaluation; Li et al. (2018),
Offline Evaluation of Ranking Policies with Click Models, for the item-position model.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import DataError, NotEnoughData
from chronotope.contracts.event_log import Float64
from chronotope.metrics.summary import Interval

_BLOCK = 4_000_000
"""Resampled entries held at once."""


@dataclass(frozen=True, slots=True)
class LoggedImpressions:
    """Positions of lists that were shown, one row each.

    Attributes:
        list_idx: Number of the list, 0 to n_lists - 1, shape (n,).
        user: Whose list it is, shape (n_lists,).
        reward: 1 if the item was hit, shape (n,).
        propensity: Probability that it was shown there, shape (n,).
        target: Probability that the target shows it there, shape (n,).
        q: What the reward model expects of it, shape (n,).
        q_target: What it expects of the target's item there, shape (n,).
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
    """Hits a list, with intervals by resampling users.

    Attributes:
        logged: Of the policies that were in force.
        ips, snips, dr: Of the target.
        gain: DR minus what was logged, on the same resamples.
        n_lists, n_users: What the estimates rest on.
        effective_n: ``(sum w)^2 / sum w^2``: so many positions would tell as much unweighted.
        mean_weight: 1 on average if everything the target shows could be shown; less if not.
        max_weight: After clipping.
        clipped: Share of the positions whose weight was clipped; each makes the value less.
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
    shown: LoggedImpressions,
    *,
    clip: float | None = None,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> OffPolicyEstimates:
    """Estimate the value of the target.

    Args:
        shown: What was shown, hit, and would be shown.
        clip: Largest weight; None clips none. Clipping trades variance for bias.
        n: Resamples of users.
        level: Mass of the intervals.
        seed: Seed of the resampling.

    Raises:
        NotEnoughData: There is no list.
        DataError: A propensity is not in (0, 1].
    """
    weight, clipped = _weights(shown, clip)
    sums = _by_user(shown, weight)
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [_ratios(_resampled(sums, rng, size)) for size in _sizes(n, len(sums))], axis=1
    )
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1).T
    points = _ratios(sums.sum(axis=0)[None])[:, 0]
    told = [Interval(float(p), float(a), float(b)) for p, (a, b) in zip(points, ends, strict=True)]
    logged, ips, snips, dr, gain = told
    return OffPolicyEstimates(
        logged=logged,
        ips=ips,
        snips=snips,
        dr=dr,
        gain=gain,
        n_lists=len(shown.user),
        n_users=len(sums),
        effective_n=float(weight.sum() ** 2 / max(float((weight**2).sum()), 1e-300)),
        mean_weight=float(weight.mean()),
        max_weight=float(weight.max()),
        clipped=float(clipped.mean()),
    )


def _weights(shown: LoggedImpressions, clip: float | None) -> tuple[Float64, npt.NDArray[np.bool_]]:
    if not len(shown.reward):
        raise NotEnoughData("No list was drawn at random: there is nothing to estimate from")
    if not ((shown.propensity > 0) & (shown.propensity <= 1 + 1e-9)).all():
        raise DataError(
            "Propensities are probabilities above 0",
            received=f"{shown.propensity.min()} to {shown.propensity.max()}",
        )
    weight = shown.target / shown.propensity
    most = np.inf if clip is None else clip
    return np.minimum(weight, most), weight > most


def _by_user(shown: LoggedImpressions, weight: Float64) -> Float64:
    """Sums of each user: lists, positions, r, w, w r, and the terms of DR, shape (n_users, 6)."""
    _, of_list = np.unique(shown.user, return_inverse=True)
    of_row = of_list[shown.list_idx]
    doubly = shown.q_target + weight * (shown.reward - shown.q)
    ones = np.ones(len(weight))
    terms = (ones, shown.reward, weight, weight * shown.reward, doubly)
    lists = np.bincount(of_list).astype(np.float64)
    return np.stack([lists, *(np.bincount(of_row, t, len(lists)) for t in terms)], axis=1)


def _ratios(sums: Float64) -> Float64:
    """Logged value, IPS, SNIPS, DR and its gain of sums over users, shape (5, n)."""
    lists, rows, r, w, wr, dr = sums.T
    snips = np.divide(wr, w, out=np.zeros_like(w), where=w > 0) * rows
    told: Float64 = np.stack([r, wr, snips, dr, dr - r]) / lists
    return told


def _resampled(sums: Float64, rng: np.random.Generator, n: int) -> Float64:
    """Sums over users drawn with replacement, shape (n, 6)."""
    users = len(sums)
    drawn = rng.integers(users, size=(n, users))
    counts = np.stack([np.bincount(one, minlength=users) for one in drawn])
    return counts.astype(np.float64) @ sums


def _sizes(n: int, users: int) -> list[int]:
    step = max(1, _BLOCK // users)
    return [min(step, n - at) for at in range(0, n, step)]
