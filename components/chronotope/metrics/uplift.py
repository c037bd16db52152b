"""Uplift of an arm over the control, clustered by user.

Lists of one user are correlated, so the standard error of a rate is computed over users by
the delta method for a ratio of sums:
``var = sum_u (h_u - r n_u)^2 / (sum_u n_u)^2 * m / (m - 1)``.

The anytime-valid interval may be monitored continuously and acted on as soon as it excludes
0; the fixed-horizon interval may be read once.

Source: Deng, Knoblich and Lu (2018), Applying the Delta Method in Metric Analytics;
Waudby-Smith et al. (2021), Time-uniform central limit theory, equation (14); Fabijan et al.
(2019), Diagnosing Sample Ratio Mismatch.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chisquare, norm

from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Float64, Int64

TIGHTEST_N_USERS = 1000
"""Users at which the anytime-valid interval is relatively narrowest; fixed beforehand."""


@dataclass(frozen=True, slots=True)
class HitsPerList:
    """Rate of hits a list with its interval.

    Attributes:
        estimate: Hits over lists.
        low, high: Fixed-horizon interval.
        error: Standard error.
        n_users: Number of users.
    """

    estimate: float
    low: float
    high: float
    error: float
    n_users: int


@dataclass(frozen=True, slots=True)
class Uplift:
    """Difference of an arm from the control.

    Attributes:
        difference: Arm's rate minus the control's; positive is better than the control.
        low, high: Fixed-horizon interval.
        always_low, always_high: Anytime-valid interval.
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


def hits_per_list(user_hits: Float64, user_lists: Float64, *, level: float = 0.95) -> HitsPerList:
    """Rate of hits a list with its interval.

    Args:
        user_hits: Hits of each user, shape (n_users,).
        user_lists: Lists of each user, shape (n_users,).
        level: Coverage probability of the interval.

    Raises:
        NotEnoughData: Fewer than two users.
    """
    n_users, n_lists = len(user_hits), float(np.sum(user_lists))
    if n_users < 2:
        raise NotEnoughData("A rate with an interval needs two users", received=n_users)
    hit_share = float(np.sum(user_hits)) / n_lists
    squared_residuals = ((user_hits - hit_share * user_lists) ** 2).sum()
    std_error = float(np.sqrt(squared_residuals * n_users / (n_users - 1)) / n_lists)
    half_width = norm.ppf((1 + level) / 2) * std_error
    return HitsPerList(
        hit_share, hit_share - half_width, hit_share + half_width, std_error, n_users
    )


def estimate_uplift(
    control_rate: HitsPerList, arm_rate: HitsPerList, *, level: float = 0.95
) -> Uplift:
    """Arm's rate minus the control's; the two have no user in common.

    Args:
        control_rate: Rate of the control.
        arm_rate: Rate of the arm.
        level: Coverage probability of both intervals.
    """
    control = control_rate.estimate
    difference = arm_rate.estimate - control
    std_error = float(np.hypot(control_rate.error, arm_rate.error))
    half_width = norm.ppf((1 + level) / 2) * std_error
    always_half = anytime_bound(control_rate.n_users + arm_rate.n_users, level) * std_error
    p_value = (
        2 * float(norm.sf(abs(difference) / std_error)) if std_error else float(difference == 0)
    )
    return Uplift(
        difference=difference,
        low=difference - half_width,
        high=difference + half_width,
        always_low=difference - always_half,
        always_high=difference + always_half,
        relative=difference / control if control else float("nan"),
        p_value=p_value,
    )


def anytime_bound(n_users: int, level: float) -> float:
    """Half width of the anytime-valid interval, in standard errors."""
    alpha = 1 - level
    twice_log = -2 * np.log(alpha)
    # rho squared of the paper, which minimises the width at TIGHTEST_N_USERS
    rho_squared = (twice_log + np.log(twice_log) + 1) / TIGHTEST_N_USERS
    scaled_n = n_users * rho_squared + 1
    log_ratio = np.log(np.sqrt(scaled_n) / alpha)
    return float(np.sqrt(2 * scaled_n / (n_users * rho_squared) * log_ratio))


def share_mismatch(n_users: Int64, arm_shares: Float64) -> float:
    """P-value of the sample ratio mismatch test (chi-squared); 1 for a single arm.

    Args:
        n_users: Users of each arm, shape (n_arms,).
        arm_shares: Designed share of each arm, adding up to 1, shape (n_arms,).
    """
    if len(n_users) < 2 or not n_users.sum():
        return 1.0
    expected_users = np.asarray(arm_shares) * n_users.sum()
    return float(chisquare(n_users, expected_users).pvalue)
