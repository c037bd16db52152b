"""Metrics of anomaly scores: AUROC, average precision, and precision of a daily alert budget."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from chronotope.contracts.event_log import Float64

Booleans = npt.NDArray[np.bool_]


def auroc(is_anomalous: Booleans, scores: Float64) -> float:
    """Probability that an anomaly scores higher than a genuine event, ties count half.

    Args:
        is_anomalous: Shape (n,).
        scores: Higher is more anomalous, shape (n,).

    Returns:
        NaN if all events are of one kind.

    Example:
        >>> auroc(np.array([True, False, False]), np.array([2.0, 1.0, 2.0]))
        0.75
    """
    n_anomalous, n_genuine = int(is_anomalous.sum()), int((~is_anomalous).sum())
    if not n_anomalous or not n_genuine:
        return float("nan")
    rank_sum = float(rankdata(scores)[is_anomalous].sum())
    return (rank_sum - n_anomalous * (n_anomalous + 1) / 2) / (n_anomalous * n_genuine)


def average_precision(is_anomalous: Booleans, scores: Float64) -> float:
    """Mean precision at the scores of the anomalies; equal scores count together.

    ``sum_k (R_k - R_{k-1}) P_k`` over distinct scores, highest first. Arguments as above.

    Example:
        >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
        0.8333333333333333
    """
    if not is_anomalous.any():
        return float("nan")
    sort_order = np.argsort(-scores, kind="stable")
    ordered_scores = scores[sort_order]
    is_last_of_tie = np.append(ordered_scores[1:] != ordered_scores[:-1], True)
    n_hits = np.cumsum(is_anomalous[sort_order])[is_last_of_tie]
    n_flagged = np.flatnonzero(is_last_of_tie) + 1
    gained_recall = np.diff(n_hits, prepend=0) / n_hits[-1]
    return float(np.sum(gained_recall * n_hits / n_flagged))


@dataclass(frozen=True, slots=True)
class ScoredEvents:
    """Scores of events beside their outcomes, all of shape (n,).

    Attributes:
        user_idx: User or card of each event.
        day: Day number of each event.
        is_anomalous: Outcome.
        scores: Higher is more anomalous.
    """

    user_idx: npt.NDArray[np.integer]
    day: npt.NDArray[np.integer]
    is_anomalous: Booleans
    scores: Float64


def card_precision(events: ScoredEvents, k: int) -> float:
    """Mean over the days of the share of compromised users among the k with the highest scores.

    A user that was found compromised on one day is removed from later days.

    Source: Le Borgne et al., "Reproducible machine learning for credit card fraud detection:
    practical handbook", chapter 4, card precision@k.

    Args:
        events: Scored events.
        k: Users that can be looked at each day.
    """
    is_detected = np.zeros(int(events.user_idx.max(initial=0)) + 1, dtype=np.bool_)
    daily_precision = []
    for day in np.unique(events.day):
        row_idx = np.flatnonzero((events.day == day) & ~is_detected[events.user_idx])
        sort_order = row_idx[np.argsort(-events.scores[row_idx], kind="stable")]
        ranked_users, first_position = np.unique(events.user_idx[sort_order], return_index=True)
        flagged_users = ranked_users[np.argsort(first_position)[:k]]
        compromised_users = np.unique(events.user_idx[row_idx[events.is_anomalous[row_idx]]])
        detected_users = np.intersect1d(flagged_users, compromised_users)
        is_detected[detected_users] = True
        daily_precision.append(len(detected_users) / k)
    return float(np.mean(daily_precision)) if daily_precision else float("nan")
