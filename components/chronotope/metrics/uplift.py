"""Whether an arm of an experiment does better than the control, users being what is random.

Lists of one user are alike, so a rate's standard error comes from the users by the delta
method for a ratio of sums: ``var = sum_u (h_u - r n_u)^2 / (sum_u n_u)^2 * m / (m - 1)``.

The interval that is always valid may be looked at every day and acted on at the first day it
leaves 0; the usual one may be looked at once.

Source: Deng, Knoblich and Lu (2018), Applying the Delta Method in Metric Analytics;
Waudby-Smith et al. (2021), Time-uniform central limit theory, equation (14); Fabijan et al.
(2019), Diagnosing Sample Ratio Mismatch.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chisquare, norm

from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Float64, Int64

TIGHTEST_AT = 1000
"""Users at which the always valid interval is relatively narrowest; fixed beforehand."""


@dataclass(frozen=True, slots=True)
class HitsPerList:
    """Hits a list.

    Attributes:
        estimate: Hits over lists.
        low, high: Interval.
        error: Standard error.
        n_users: Users it rests on.
    """

    estimate: float
    low: float
    high: float
    error: float
    n_users: int


@dataclass(frozen=True, slots=True)
class Uplift:
    """An arm against the control.

    Attributes:
        difference: Of the rates; positive is better than the control.
        low, high: Its interval.
        always_low, always_high: The interval that may be looked at again and again.
        relative: Difference over the control's rate; NaN if that is 0.
        p_value: Two-sided, of no difference.
    """

    difference: float
    low: float
    high: float
    always_low: float
    always_high: float
    relative: float
    p_value: float


def hits_per_list(hits: Float64, lists: Float64, *, level: float = 0.95) -> HitsPerList:
    """Hits a list and how sure it is.

    Args:
        hits: Of each user, shape (n_users,).
        lists: Of each user, shape (n_users,).
        level: Mass of the interval.

    Raises:
        NotEnoughData: Fewer than two users.
    """
    m, total = len(hits), float(np.sum(lists))
    if m < 2:
        raise NotEnoughData("A rate with an interval needs two users", received=m)
    rate = float(np.sum(hits)) / total
    error = float(np.sqrt(((hits - rate * lists) ** 2).sum() * m / (m - 1)) / total)
    reach = norm.ppf((1 + level) / 2) * error
    return HitsPerList(rate, rate - reach, rate + reach, error, m)


def estimate_uplift(control: HitsPerList, arm: HitsPerList, *, level: float = 0.95) -> Uplift:
    """The arm's rate minus the control's; users of the two are different ones.

    Args:
        control: Rate of the control.
        arm: Rate of the arm.
        level: Mass of each interval.
    """
    difference = arm.estimate - control.estimate
    error = float(np.hypot(control.error, arm.error))
    reach = norm.ppf((1 + level) / 2) * error
    always = anytime_bound(control.n_users + arm.n_users, level) * error
    p_value = 2 * float(norm.sf(abs(difference) / error)) if error else float(difference == 0)
    relative = difference / control.estimate if control.estimate else float("nan")
    return Uplift(
        difference,
        difference - reach,
        difference + reach,
        difference - always,
        difference + always,
        relative,
        p_value,
    )


def anytime_bound(n: int, level: float) -> float:
    """Half a width, in standard errors, that n growing users never leave with this probability."""
    alpha = 1 - level
    twice = -2 * np.log(alpha)
    rho = (twice + np.log(twice) + 1) / TIGHTEST_AT  # the square of the paper's rho
    grown = n * rho + 1
    return float(np.sqrt(2 * grown / (n * rho) * np.log(np.sqrt(grown) / alpha)))


def share_mismatch(n_users: Int64, shares: Float64) -> float:
    """P-value of the arms' users having come by the shares alone (chi-squared); 1 for one arm.

    Args:
        n_users: Users of each arm.
        shares: Of each arm; they add up to 1.
    """
    if len(n_users) < 2 or not n_users.sum():
        return 1.0
    return float(chisquare(n_users, np.asarray(shares) * n_users.sum()).pvalue)
