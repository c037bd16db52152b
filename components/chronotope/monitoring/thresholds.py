"""Drift thresholds from earlier windows, with a correction for multiple testing.

A statistic x of the current window is compared with its values in K earlier windows, whose mean
is m and whose standard deviation is s:

    t = (x - m) / (s sqrt(1 + 1/K))        Student's t with K - 1 degrees of freedom

This is the exact prediction interval of the next normally distributed value, and it extends to
quantiles beyond the K values. Divergences are sums of many squared differences, so their cube
roots are nearly normal (Wilson & Hilferty 1931); shares are compared as log-odds. An alarm must
also exceed the sampling noise: the larger of both p-values counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import expit, logit

from chronotope.contracts.drift_report import DriftArea, DriftCheck, DriftStatus
from chronotope.monitoring.config import MonitorConfig

Numbers = npt.NDArray[np.float64]
Side = Literal["above", "below", "both"]
Scale = Literal["plain", "cube root", "log-odds"]

ROUNDING: Final = 1e-6
"""Relative difference from the mean of history below which a value counts as unchanged."""

_Transform = Callable[[Any], Any]
_TRANSFORMS: Final[dict[Scale, _Transform]] = {
    "plain": np.asarray,
    "cube root": np.cbrt,
    "log-odds": logit,
}
_INVERSES: Final[dict[Scale, _Transform]] = {
    "plain": np.asarray,
    "cube root": lambda root: root**3,
    "log-odds": expit,
}


@dataclass(frozen=True, slots=True)
class DriftStatistic:
    """Statistic of the current window, before its check.

    Attributes:
        part: Area of the check: data, predictions or outcome.
        name: Monitored quantity, such as a column.
        statistic: Name of the statistic, such as ``js``.
        value: Value in the current window.
        low, high: 95 % confidence interval of the value; None if unknown.
        history: Values in earlier windows, shape (K,).
        p_sampling: P-value under sampling noise alone; 0 if it is unknown, so that only
            history decides.
        side: Direction that counts as drift.
        scale: Scale on which values are compared: divergences as cube roots, shares as
            log-odds.
        can_alarm: Whether it can raise an alarm; other statistics are only shown.
        needs_history: Whether an alarm requires ``min_history`` earlier values; False if the
            value is tested against a known level.
        reference_level: That level, if the statistic is on the same scale; else None.
    """

    part: DriftArea
    name: str
    statistic: str
    value: float
    low: float | None = None
    high: float | None = None
    history: Numbers = field(default_factory=lambda: np.empty(0))
    p_sampling: float = 0.0
    side: Side = "above"
    scale: Scale = "plain"
    can_alarm: bool = True
    needs_history: bool = True
    reference_level: float | None = None


def check_statistics(
    statistics: Sequence[DriftStatistic], monitor_config: MonitorConfig
) -> tuple[DriftCheck, ...]:
    """Check all statistics for drift, with a correction for their number.

    Args:
        statistics: Statistics of data, predictions and outcome.
        monitor_config: Quantile, correction, and minimum history.
    """
    p_values = [_p_value(statistic, monitor_config.min_history) for statistic in statistics]
    tested_p_values = [
        p_value
        for p_value, statistic in zip(p_values, statistics, strict=True)
        if statistic.can_alarm and p_value is not None
    ]
    level, any_alarm = alarm_level(np.array(tested_p_values), monitor_config)
    return tuple(
        _check(statistic, p_value, level, monitor_config, is_alarm=any_alarm)
        for statistic, p_value in zip(statistics, p_values, strict=True)
    )


def alarm_level(p_values: Numbers, monitor_config: MonitorConfig) -> tuple[float, bool]:
    """Level at or below which a p-value raises an alarm, and whether any p-value does.

    With M checks and a = 1 - quantile, the level is a / M (Bonferroni), or a k / M for the
    largest k such that the k-th smallest p-value is at most a k / M (Benjamini-Hochberg; k = 1
    if there is none).

    Args:
        p_values: P-values of all tested checks, shape (M,).
        monitor_config: Quantile and correction.

    Source: Benjamini & Hochberg (1995).
    """
    alarm_rate, n_checks = 1 - monitor_config.quantile, max(1, len(p_values))
    if monitor_config.correction == "bonferroni":
        return alarm_rate / n_checks, bool((p_values <= alarm_rate / n_checks).any())
    bh_steps = alarm_rate * np.arange(1, len(p_values) + 1) / n_checks
    passed_positions = np.flatnonzero(np.sort(p_values) <= bh_steps)
    return (
        (float(bh_steps[passed_positions[-1]]), True)
        if len(passed_positions)
        else (alarm_rate / n_checks, False)
    )


def historical_p_value(value: float, past_values: Numbers, side: Side) -> float:
    """P-value of a value, given earlier values: Student's t test of one more value.

    Args:
        value: The new value.
        past_values: Earlier values, shape (K,), K > 1.
        side: Direction of the test.
    """
    expected_value, value_spread = _predicted(past_values)
    if abs(value - expected_value) <= ROUNDING * abs(expected_value):
        return 1.0
    t_value = (
        (value - expected_value) / value_spread
        if value_spread
        else float(np.copysign(np.inf, value - expected_value))
    )
    t_value = {"above": t_value, "below": -t_value, "both": abs(t_value)}[side]
    return min(1.0, float(stats.t.sf(t_value, len(past_values) - 1)) * (2 if side == "both" else 1))


def _predicted(past_values: Numbers) -> tuple[float, float]:
    """Mean and standard deviation of the predictive distribution of the next value."""
    value_spread = float(past_values.std(ddof=1) * np.sqrt(1 + 1 / len(past_values)))
    return float(past_values.mean()), value_spread


def _scaled(statistic: DriftStatistic) -> tuple[float, Numbers]:
    """Value and history on the scale of the comparison."""
    transform = _TRANSFORMS[statistic.scale]
    return float(transform(np.float64(statistic.value))), transform(statistic.history)


def _p_value(statistic: DriftStatistic, min_history: int) -> float | None:
    """P-value of a statistic; None if there is not enough history."""
    if len(statistic.history) < min_history:
        return None if statistic.needs_history else statistic.p_sampling
    return max(statistic.p_sampling, historical_p_value(*_scaled(statistic), statistic.side))


def _check(
    statistic: DriftStatistic,
    p_value: float | None,
    level: float,
    monitor_config: MonitorConfig,
    *,
    is_alarm: bool,
) -> DriftCheck:
    check_verdict: DriftStatus = "shown"
    if statistic.can_alarm:
        check_verdict = "not enough history" if p_value is None else "usual"
        if is_alarm and p_value is not None and p_value <= level:
            check_verdict = "drift"
    has_history = len(statistic.history) >= monitor_config.min_history
    usual_value, alarm_threshold = (
        _expected_and_threshold(statistic, level) if has_history else (None, None)
    )
    return DriftCheck(
        part=statistic.part,
        name=statistic.name,
        statistic=statistic.statistic,
        value=statistic.value,
        low=statistic.low,
        high=statistic.high,
        usual=usual_value if statistic.reference_level is None else statistic.reference_level,
        threshold=alarm_threshold,
        p_value=p_value,
        n_history=len(statistic.history),
        verdict=check_verdict,
    )


def _expected_and_threshold(statistic: DriftStatistic, level: float) -> tuple[float, float]:
    """Expected value from history, and the alarm threshold on the side nearer to the value."""
    value, past_values = _scaled(statistic)
    expected_value, value_spread = _predicted(past_values)
    is_upper_side = statistic.side == "above" or (
        statistic.side == "both" and value >= expected_value
    )
    tail_probability = level / 2 if statistic.side == "both" else level
    threshold_distance = float(stats.t.isf(tail_probability, len(past_values) - 1)) * value_spread
    scaled_threshold = expected_value + (
        threshold_distance if is_upper_side else -threshold_distance
    )
    usual_value, alarm_threshold = _INVERSES[statistic.scale](
        np.array((expected_value, scaled_threshold))
    )
    return float(usual_value), float(alarm_threshold)
