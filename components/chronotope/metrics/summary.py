"""From outcomes to numbers: accuracy, slices, and how sure one may be of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64
from chronotope.metrics.evaluate import COLD_BELOW, EvaluationResult

_BLOCK = 4_000_000
"""Resampled entries held at once."""


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


def hit_rate(rank: Float64, k: int) -> Float64:
    """Acc@k (one target a query, so Recall@k too) of each target: ``1[rank <= k]``."""
    return np.asarray(rank <= k, dtype=np.float64)


def ndcg(rank: Float64, k: int) -> Float64:
    """NDCG@k of each target: ``1[rank <= k] / log2(1 + rank)``."""
    return np.asarray(np.where(rank <= k, 1 / np.log2(1 + rank), 0.0), dtype=np.float64)


def summarise_metrics(outcomes: EvaluationResult) -> dict[str, float]:
    """Means over all targets and over slices.

    A slice without targets has the value NaN. ``coverage`` is there only if it was
    measured.

    Args:
        outcomes: What the evaluator returned.

    Returns:
        ``acc_1, acc_5, acc_10, acc_20, ndcg_10, mrr, n_targets`` and, for each slice,
        ``<slice>_acc_10`` and ``n_<slice>``; slices are return, discovery, cold_user,
        warm_user, cold_item and warm_item.
    """
    rank = outcomes.rank
    summary = {f"acc_{k}": _mean(hit_rate(rank, k)) for k in (1, 5, 10, 20)}
    summary |= {"ndcg_10": _mean(ndcg(rank, 10)), "mrr": _mean(1 / rank)}
    summary["n_targets"] = float(len(outcomes))
    for name, chosen in slice_masks(outcomes).items():
        summary[f"{name}_acc_10"] = _mean(hit_rate(rank[chosen], 10))
        summary[f"n_{name}"] = float(chosen.sum())
    if not np.isnan(outcomes.coverage):
        summary["coverage"] = outcomes.coverage
    return summary


def slice_masks(outcomes: EvaluationResult) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks over the targets by slice name, each of shape (n_targets,)."""
    cold_user = outcomes.n_history < COLD_BELOW
    return {
        "return": outcomes.is_return,
        "discovery": ~outcomes.is_return,
        "cold_user": cold_user,
        "warm_user": ~cold_user,
        "cold_item": outcomes.is_cold_item,
        "warm_item": ~outcomes.is_cold_item,
    }


def bootstrap_interval(
    values: Float64,
    groups: npt.NDArray[np.integer],
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the mean, resampling whole users.

    Targets of one user are alike; resampling them singly would pretend to know more.

    Args:
        values: One value a target, shape (n_targets,).
        groups: Whose target it is, shape (n_targets,).
        n: Resamples.
        level: Mass of the interval.
        seed: Seed of the resampling.

    Returns:
        The mean and its interval.

    Raises:
        DataError: Shapes differ or there is no target.
    """
    sums, counts = _by_group(values, groups)
    rng = np.random.default_rng(seed)
    means = np.empty(n, dtype=np.float64)
    for block in _blocks(n, len(sums)):
        drawn = rng.integers(len(sums), size=(block.stop - block.start, len(sums)))
        means[block] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def paired_difference(
    a: Float64,
    b: Float64,
    groups: npt.NDArray[np.integer],
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Whether a beats b on the same targets.

    The interval resamples users; the p-value flips the sign of each user's summed
    difference, which is exact if neither side is better.

    Args:
        a: Challenger's value at each target, shape (n_targets,).
        b: Champion's value at the same targets, shape (n_targets,).
        groups: Whose target it is, shape (n_targets,).
        n: Resamples and sign flips.
        level: Mass of the interval.
        seed: Seed of both.

    Returns:
        The mean difference (positive: a is better), its interval and p-value.

    Raises:
        DataError: Shapes differ or there is no target.
    """
    if np.shape(a) != np.shape(b):
        raise DataError(
            "Paired values must come from the same targets",
            received=f"shapes {np.shape(a)} and {np.shape(b)}",
        )
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    interval = bootstrap_interval(difference, groups, n=n, level=level, seed=seed)
    sums, _ = _by_group(difference, groups)
    rng = np.random.default_rng([seed, 1])
    extreme = 0
    bar = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()
    for block in _blocks(n, len(sums)):
        signs = rng.choice(np.array([-1.0, 1.0]), size=(block.stop - block.start, len(sums)))
        extreme += int((np.abs(signs @ sums) >= bar).sum())
    return PairedDifference(interval.estimate, interval.low, interval.high, (1 + extreme) / (1 + n))


def _by_group(values: Float64, groups: npt.NDArray[np.integer]) -> tuple[Float64, Float64]:
    """Sum and number of the values of each group, shape (n_groups,) each."""
    if len(values) == 0 or np.shape(values) != np.shape(groups):
        raise DataError(
            "One value and one user a target, and at least one target, are needed",
            received=f"shapes {np.shape(values)} and {np.shape(groups)}",
        )
    _, code = np.unique(groups, return_inverse=True)
    sums = np.bincount(code, weights=values).astype(np.float64)
    return sums, np.bincount(code).astype(np.float64)


def _blocks(n: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // width)
    return (slice(at, min(at + step, n)) for at in range(0, n, step))


def _mean(values: Float64) -> float:
    return float(values.mean()) if len(values) else float("nan")
