"""Reward model of the doubly robust estimator: probability of a hit by item and position.

A logistic regression, fitted by Newton's method. It is cross-fitted: a user's lists are
predicted by a model of other users' lists only, otherwise the estimate would be biased.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from chronotope.contracts.event_log import Float64

N_FOLDS = 5
"""Folds of the cross-fitting, by user."""

_RIDGE_PENALTY, _NEWTON_STEPS = 1.0, 15


def expected_rewards(
    logged_features: Float64,
    rewards: Float64,
    user_idx: npt.NDArray[np.int64],
    target_features: Float64,
) -> tuple[Float64, Float64]:
    """Expected rewards of the logged items and of the target policy's items.

    Args:
        logged_features: ``reward_features`` of the shown items, shape (n, f).
        rewards: 1 if the item was hit, shape (n,).
        user_idx: User of the list, shape (n,).
        target_features: ``reward_features`` of the target policy's items in the same
            positions, shape (n, f).
    """
    _, user_code = np.unique(user_idx, return_inverse=True)
    user_fold = user_code % N_FOLDS
    mean_reward = rewards.mean() if len(rewards) else 0.0
    logged_q, target_q = np.full((2, len(rewards)), mean_reward)
    for fold_idx in range(min(N_FOLDS, int(user_fold.max(initial=-1)) + 1)):
        in_fold = user_fold == fold_idx
        if in_fold.all():
            break  # a single user: no other user to fit on
        weights = _fit_logistic(logged_features[~in_fold], rewards[~in_fold])
        logged_q[in_fold] = expit(logged_features[in_fold] @ weights)
        target_q[in_fold] = expit(target_features[in_fold] @ weights)
    return logged_q, target_q


def reward_features(probability: Float64, position: npt.NDArray[np.int64]) -> Float64:
    """Intercept, log probability and log position, shape (n, 3)."""
    log_probability = np.log(np.maximum(probability, 1e-9))
    return np.stack([np.ones(len(position)), log_probability, np.log1p(position)], axis=1)


def _fit_logistic(features: Float64, labels: Float64) -> Float64:
    """Coefficients by damped Newton steps; the ridge leaves the intercept nearly free."""
    ridge = _RIDGE_PENALTY * np.diag(np.r_[1e-3, np.ones(features.shape[1] - 1)])
    weights = np.zeros(features.shape[1])
    for _ in range(_NEWTON_STEPS):
        predicted = expit(features @ weights)
        gradient = features.T @ (predicted - labels) + ridge @ weights
        variance = (predicted * (1 - predicted) + 1e-6)[:, None]
        hessian = (features * variance).T @ features + ridge
        newton_step = np.linalg.solve(hessian, gradient)
        weights = weights - newton_step * min(1.0, 3.0 / (np.abs(newton_step).max() + 1e-12))
    return weights
