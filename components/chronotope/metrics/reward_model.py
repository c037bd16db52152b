"""How likely an item is hit, by its probability and its position: the q of doubly robust.

A logistic regression, fitted by Newton's method. It is cross-fitted: what it says of a user's
lists it has learned from other users' alone, or the estimate would not be unbiased.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from chronotope.contracts.event_log import Float64

N_FOLDS = 5
_RIDGE, _STEPS = 1.0, 15


def expected_rewards(
    told: Float64, reward: Float64, users: npt.NDArray[np.int64], asked: Float64
) -> tuple[Float64, Float64]:
    """Expected rewards of what was shown and of what would have been.

    Args:
        told: ``reward_features`` of the shown items, shape (n, f).
        reward: 1 if it was hit, shape (n,).
        users: Whose list it is, shape (n,).
        asked: ``reward_features`` of the target's items in the same positions, shape (n, f).
    """
    _, code = np.unique(users, return_inverse=True)
    fold = code % N_FOLDS
    q, q_target = np.full((2, len(reward)), reward.mean() if len(reward) else 0.0)
    for each in range(min(N_FOLDS, int(fold.max(initial=-1)) + 1)):
        mine = fold == each
        if mine.all():
            break  # a single user: there is nobody to learn from
        weights = _fit(told[~mine], reward[~mine])
        q[mine], q_target[mine] = expit(told[mine] @ weights), expit(asked[mine] @ weights)
    return q, q_target


def reward_features(probability: Float64, position: npt.NDArray[np.int64]) -> Float64:
    """One, log probability and log rank, shape (n, 3)."""
    return np.stack(
        [np.ones(len(position)), np.log(np.maximum(probability, 1e-9)), np.log1p(position)], axis=1
    )


def _fit(x: Float64, y: Float64) -> Float64:
    """Coefficients by damped Newton steps; all but the intercept are drawn to 0."""
    ridge = _RIDGE * np.diag(np.r_[1e-3, np.ones(x.shape[1] - 1)])
    weights = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = expit(x @ weights)
        slope = x.T @ (p - y) + ridge @ weights
        curve = (x * (p * (1 - p) + 1e-6)[:, None]).T @ x + ridge
        step = np.linalg.solve(curve, slope)
        weights = weights - step * min(1.0, 3.0 / (np.abs(step).max() + 1e-12))
    return weights
