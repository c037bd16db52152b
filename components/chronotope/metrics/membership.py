"""Membership attacks: how well scores tell users of a training from users held out of it."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64
from chronotope.metrics.anomaly_detection import auroc


@dataclass(frozen=True, slots=True)
class AttackAuc:
    """AUC of an attack with its bootstrap interval; .5 is chance."""

    estimate: float
    low: float
    high: float


def attack_auc(
    member_scores: Float64,
    other_scores: Float64,
    *,
    n_resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> AttackAuc:
    """Probability that a member scores higher than a held-out user, ties count half.

    Source: Yeom et al. (2018), *Privacy risk in machine learning*; the AUC of their attack over all
    thresholds.

    Args:
        member_scores: Score of each member, higher is likelier a member, shape (n_members,).
        other_scores: Score of each held-out user, shape (n_others,).
        n_resamples: Bootstrap resamples; members and others are resampled apart.
        level: Coverage probability of the interval.
        seed: Seed of the resampling.

    Raises:
        DataError: One of the groups is empty.

    Example:
        >>> attack_auc(np.array([1.0, 1.0]), np.array([0.0])).estimate
        1.0
    """
    if not len(member_scores) or not len(other_scores):
        raise DataError(
            "A membership attack needs members and held-out users",
            received=f"{len(member_scores)} and {len(other_scores)}",
        )
    is_member = np.arange(len(member_scores) + len(other_scores)) < len(member_scores)
    random_generator = np.random.default_rng(seed)
    resampled_aucs = [
        auroc(
            is_member,
            np.concatenate(
                [
                    _resample(item_scores, random_generator)
                    for item_scores in (member_scores, other_scores)
                ]
            ),
        )
        for _ in range(n_resamples)
    ]
    low, high = np.quantile(resampled_aucs, [(1 - level) / 2, (1 + level) / 2])
    estimate = auroc(is_member, np.concatenate([member_scores, other_scores]))
    return AttackAuc(float(estimate), float(low), float(high))


def _resample(scores: Float64, rng: np.random.Generator) -> Float64:
    return scores[rng.integers(len(scores), size=len(scores))]
