"""Which item of the own past a user returns to: a conditional logit over the user's items.

The features of an item are logs of kernel counts over its past events: all, recent ones (1, 7 and
30 days), at a similar hour, on the same kind of day, those that once followed the last item, and
the last item itself.

Source: McFadden (1974), *Conditional logit analysis of qualitative choice behavior*.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize

from chronotope.contracts.event_log import Float64, Int64

HISTORY_LEN: Final = 256
"""Past events that are read."""
_DECAYS_S: Final = (86_400.0, 604_800.0, 2_592_000.0)
_SIGMA_H: Final = 1.5
_DAY_S: Final = 86_400
N_FEATURES: Final = 9
_RIDGE: Final = 1e-2


@dataclass(frozen=True, slots=True)
class Past:
    """Latest past events of one user, oldest first, shape (n,) each.

    Attributes:
        items: Items.
        local_s: Local times, seconds.
    """

    items: Int64
    local_s: Int64


@dataclass(frozen=True, slots=True)
class OwnItems:
    """Distinct items of a past, shape (k,), and their features, shape (k, 9)."""

    items: Int64
    features: Float64


def own_items(past: Past, now_local_s: int) -> OwnItems:
    """Distinct items of a user's past, and their features at a moment.

    Args:
        past: The user's latest events, at least one.
        now_local_s: Local time of the next event, seconds.
    """
    items, item_row = np.unique(past.items, return_inverse=True)
    age_s = (now_local_s - past.local_s).astype(np.float64)
    hour_gap = np.abs(past.local_s % _DAY_S - now_local_s % _DAY_S) / 3_600
    near_hour = np.exp(-0.5 * (np.minimum(hour_gap, 24 - hour_gap) / _SIGMA_H) ** 2)
    month_decay = np.exp(-age_s / _DECAYS_S[2])
    same_day_kind = _is_weekend(past.local_s) == _is_weekend(np.array(now_local_s))
    follows = np.zeros(len(past.items))
    follows[1:] = past.items[:-1] == past.items[-1]
    event_weights = np.stack(
        [
            np.ones(len(age_s)),
            *(np.exp(-age_s / decay_s) for decay_s in _DECAYS_S),
            near_hour,
            near_hour * month_decay,
            near_hour * same_day_kind,
            follows,
        ]
    )
    flat_rows = item_row + len(items) * np.arange(len(event_weights))[:, None]
    sums = np.bincount(flat_rows.ravel(), event_weights.ravel(), len(items) * len(event_weights))
    features = np.empty((len(items), N_FEATURES))
    features[:, :-1] = np.log(sums.reshape(len(event_weights), -1).T + 0.01)
    features[:, -1] = items == past.items[-1]
    return OwnItems(items, features)


def fit_choice(choices: list[OwnItems], chosen: list[int]) -> Float64:
    """Weights of the features by maximum likelihood, shape (9,).

    Args:
        choices: Items of each past.
        chosen: Row of the item that was chosen, in each.
    """
    if not choices:
        return np.zeros(N_FEATURES)
    features = np.concatenate([choice.features for choice in choices])
    lengths = np.array([len(choice.items) for choice in choices])
    user_starts = np.cumsum(lengths) - lengths
    target_rows = user_starts + np.array(chosen)

    def loss(weights: Float64) -> tuple[float, Float64]:
        item_scores = features @ weights
        item_scores -= np.repeat(np.maximum.reduceat(item_scores, user_starts), lengths)
        shares = np.exp(item_scores)
        totals = np.add.reduceat(shares, user_starts)
        shares /= np.repeat(totals, lengths)
        value = float(np.mean(np.log(totals) - item_scores[target_rows]))
        gradient = (features.T @ shares - features[target_rows].sum(axis=0)) / len(user_starts)
        return value + _RIDGE * float(weights @ weights), gradient + 2 * _RIDGE * weights

    result = minimize(loss, np.zeros(N_FEATURES), jac=True, method="L-BFGS-B")
    return np.asarray(result.x, dtype=np.float64)


def choice_shares(own_choice: OwnItems, weights: Float64) -> Float64:
    """Probability of each item, shape (k,)."""
    item_scores = own_choice.features @ weights
    weights_exp = np.exp(item_scores - item_scores.max())
    shares: Float64 = weights_exp / weights_exp.sum()
    return shares


def _is_weekend(local_s: Int64) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((local_s // _DAY_S + 3) % 7 >= 5)
