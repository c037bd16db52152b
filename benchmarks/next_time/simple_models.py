"""Simple models of waits: one distribution for all, one a user, and boosted trees."""

import math

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.next_time.case import Case
from benchmarks.next_time.forecasts import Forecasts, interval_log_score, mixture_forecasts
from benchmarks.next_time.waits import Waits
from chronotope.contracts.event_log import Float64
from chronotope.metrics import LognormalMixture
from chronotope.models.gap_features import N_CLOCK, N_LATEST, N_PACE

N_TREE_FEATURES = N_CLOCK + 2 * N_LATEST + N_PACE
"""First gap features: clock, latest gaps, pace."""


def exponential(case: Case) -> Forecasts:
    """One exponential distribution for all users, in closed form."""
    waits, true_h = case.waits, case.test_h
    mean_h, width = waits.hours[waits.train].mean(), waits.half_width_h
    median_h = np.full(len(true_h), mean_h * math.log(2))
    low, high = (1 - np.exp(-(true_h + side) / mean_h) for side in (-width, width))
    if width > 0:
        low = np.maximum(low, 0.0)
        return Forecasts(interval_log_score(low, high, width), median_h, low, high)
    return Forecasts(-math.log(mean_h) - true_h / mean_h, median_h, low, high)


def lognormal(case: Case) -> Forecasts:
    """One lognormal for all users."""
    log_h = np.log(case.dequantized_h[case.waits.train])
    return _same_for_all(
        case.waits, np.zeros(1), log_h.mean(keepdims=True), log_h.std(keepdims=True)
    )


def mixture_8(case: Case) -> Forecasts:
    """Mixture of eight lognormals for all users, fitted by expectation-maximisation."""
    log_h = np.log(case.dequantized_h[case.waits.train])
    weight, mean = np.full(8, 1 / 8), np.quantile(log_h, (np.arange(8) + 0.5) / 8)
    scale = np.full(8, log_h.std() / 4)
    for _ in range(200):
        z_score = (log_h[:, None] - mean) / scale
        share = weight / scale * np.exp(-0.5 * z_score**2) + 1e-300
        share /= share.sum(1, keepdims=True)
        total = share.sum(0)
        weight, mean = total / total.sum(), share.T @ log_h / total
        spread = (share * (log_h[:, None] - mean) ** 2).sum(0) / total
        scale = np.sqrt(np.maximum(spread, 1e-4))
    return _same_for_all(case.waits, np.log(weight), mean, scale)


def user_median(case: Case) -> Forecasts:
    """A lognormal around each user's median; around the global median without a history."""
    log_h = np.log(case.dequantized_h[case.waits.train])
    waits = case.waits
    user_idx = waits.user_idx[waits.train]
    order = np.lexsort((log_h, user_idx))
    users, start, count = np.unique(user_idx[order], return_index=True, return_counts=True)
    middle = log_h[order[start + (count - 1) // 2]] + log_h[order[start + count // 2]]
    median = np.full(waits.source.catalog.users.size, np.median(log_h))
    median[users] = middle / 2
    return _lognormal_around(
        waits, median[waits.user_idx[waits.test]], float((log_h - median[user_idx]).std())
    )


def boosted_trees(case: Case) -> Forecasts:
    """A lognormal around the median of boosted trees over clock, latest gaps and pace.

    Its spread is that of the errors on the selection rows.
    """
    waits, log_h = case.waits, np.log(case.dequantized_h)
    inputs = case.inputs.features[:, :N_TREE_FEATURES].numpy()
    trees = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=200, random_state=case.seed
    )
    trees.fit(inputs[waits.train], log_h[waits.train])
    errors = log_h[waits.later] - trees.predict(inputs[waits.later])
    return _lognormal_around(waits, trees.predict(inputs[waits.test]), float(errors.std()))


def _lognormal_around(waits: Waits, mean: Float64, scale: float) -> Forecasts:
    column = mean[:, None]
    mixture = LognormalMixture(np.zeros_like(column), column, np.full_like(column, scale))
    return mixture_forecasts(mixture, waits.hours[waits.test], waits.half_width_h)


def _same_for_all(waits: Waits, log_weight: Float64, mean: Float64, scale: Float64) -> Forecasts:
    """Forecasts by one mixture, parts of shape (K,)."""
    parts = (np.tile(part, (len(waits.test), 1)) for part in (log_weight, mean, scale))
    return mixture_forecasts(LognormalMixture(*parts), waits.hours[waits.test], waits.half_width_h)
