"""Forecasts of waits and their evaluation: one measure for continuous times and for days."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.metrics import LognormalMixture, conformal_levels
from chronotope.metrics.time_calibration import NOMINAL_LEVELS, SHORTEST_H

DAY_S: Final = 86_400
WINDOW_DAYS: Final = 28
"""Days whose waits set the levels of the interval."""

SMALLEST: Final = 1e-12
"""A forecast that rules out what came counts with this probability."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What a model forecast for each of n waits.

    Attributes:
        log_score: Log density at the true wait, per hour; where the log knows days only, log of
            the probability of the true day, divided by its 24 hours. Shape (n,).
        median_h: Median of the forecast, hours, shape (n,).
        cdf_low, cdf_high: Probability of a shorter wait, and of a wait no longer, than the true
            one; they differ by the probability of the day, and are equal for continuous times.
    """

    log_score: Float64
    median_h: Float64
    cdf_low: Float64
    cdf_high: Float64


@dataclass(frozen=True, slots=True)
class TimeScores:
    """Likelihood and calibration of forecasts.

    Attributes:
        nll: Mean negative ``log_score``; lower is better.
        mean_abs_log_error: Mean ``|log median - log true|``.
        coverage_80: Share of waits in the central 80 % interval; a wait whose day the end of
            the interval divides counts with the part that is inside (randomised PIT).
        coverage_80_nightly: The same of the interval as it is served: each night its levels become
            those between which 80 % of the waits of the last ``WINDOW_DAYS`` lay.
        n_targets: Number of waits.
    """

    nll: float
    mean_abs_log_error: float
    coverage_80: float
    coverage_80_nightly: float
    n_targets: int


def mixture_forecasts(
    mixture: LognormalMixture, true_h: Float64, half_width_h: float = 0.0
) -> Forecasts:
    """Forecasts by a mixture of lognormals.

    Args:
        mixture: One mixture a wait.
        true_h: True waits in hours, shape (n,).
        half_width_h: Half of the time that the log does not resolve; 0: continuous times.
    """
    median_h = mixture.quantile(0.5)
    if half_width_h == 0:
        at_true = mixture.cdf(true_h)
        return Forecasts(mixture.log_density(true_h), median_h, at_true, at_true)
    low, high = (mixture.cdf(true_h + side) for side in (-half_width_h, half_width_h))
    low = np.where(true_h - half_width_h > 0, low, 0.0)
    return Forecasts(interval_log_score(low, high, half_width_h), median_h, low, high)


def interval_log_score(low: Float64, high: Float64, half_width_h: float) -> Float64:
    """Log of the probability between two values of a distribution, per hour."""
    log_score: Float64 = np.log(np.maximum(high - low, SMALLEST)) - np.log(2 * half_width_h)
    return log_score


def score_forecasts(forecasts: Forecasts, true_h: Float64, ended_s: Int64) -> TimeScores:
    """Likelihood and calibration of forecasts of waits.

    Args:
        forecasts: Of n waits.
        true_h: Hours of each, shape (n,).
        ended_s: End of each, UTC seconds, shape (n,).
    """
    log_error = np.log(np.maximum(forecasts.median_h, SHORTEST_H)) - np.log(true_h)
    return TimeScores(
        nll=float(-forecasts.log_score.mean()),
        mean_abs_log_error=float(np.abs(log_error).mean()),
        coverage_80=float(_share_inside(forecasts, *NOMINAL_LEVELS).mean()),
        coverage_80_nightly=float(
            _share_inside(forecasts, *nightly_levels(forecasts, ended_s)).mean()
        ),
        n_targets=len(true_h),
    )


def nightly_levels(forecasts: Forecasts, ended_s: Int64) -> tuple[Float64, Float64]:
    """Levels of the interval of each wait, from the waits that ended in the days before, (n,)."""
    low, high = (np.full(len(ended_s), level) for level in NOMINAL_LEVELS)
    share = np.random.default_rng(0).uniform(size=len(ended_s))
    pit = forecasts.cdf_low + share * (forecasts.cdf_high - forecasts.cdf_low)
    days = ended_s // DAY_S
    for day in np.unique(days):
        is_past = (days < day) & (days >= day - WINDOW_DAYS)
        today = days == day
        low[today], high[today] = conformal_levels(pit[is_past])
    return low, high


def _share_inside(forecasts: Forecasts, first: float | Float64, last: float | Float64) -> Float64:
    """Part of ``cdf_low..cdf_high`` that lies between two levels, shape (n,)."""
    width = forecasts.cdf_high - forecasts.cdf_low
    overlap = np.minimum(forecasts.cdf_high, last) - np.maximum(forecasts.cdf_low, first)
    is_inside = (forecasts.cdf_low >= first) & (forecasts.cdf_high <= last)
    is_wide = width > SMALLEST
    return np.where(is_wide, np.clip(overlap, 0, None) / np.where(is_wide, width, 1), is_inside)
