"""Drift thresholds from earlier windows, with correction for many checks at once.

Each statistic of the current window is held against the same statistic of earlier windows,
with m its mean and s its standard deviation over K of them:

    t = (x - m) / (s sqrt(1 + 1/K))        Student's t with K - 1 degrees of freedom

which predicts one more of normal values exactly, and reaches quantiles that K values alone
could not. Divergences are squares of many small differences, so their cube roots are nearly
normal (Wilson & Hilferty 1931); of shares it is the log-odds. An alarm must also be more than
the noise of sampling: the larger of both p-values counts.
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
"""Nearer to the middle of history than this, relatively, a value is the same."""

_Map = Callable[[Any], Any]
_TO: Final[dict[Scale, _Map]] = {
    "plain": np.asarray,
    "cube root": np.cbrt,
    "log-odds": logit,
}
_FROM: Final[dict[Scale, _Map]] = {
    "plain": np.asarray,
    "cube root": lambda of: of**3,
    "log-odds": expit,
}


@dataclass(frozen=True, slots=True)
class DriftStatistic:
    """Statistic of the current window, before its check.

    Attributes:
        part: What it is about.
        name: What is watched.
        statistic: How.
        value: Of the current window.
        low, high: Its 95 % interval, if known.
        history: The same of earlier windows, shape (K,).
        p_sampling: Chance of such a value by sampling alone; 0 if only history can tell.
        side: Where drift lies.
        scale: On which values are compared: divergences as cube roots, shares as log-odds.
        judged: Whether it can raise an alarm; others are shown only.
        alone: Whether it may without a history: it is held against a known level.
        level: That level, if it is of the same kind.
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
    judged: bool = True
    alone: bool = False
    level: float | None = None


def check_statistics(
    statistics: Sequence[DriftStatistic], monitor_config: MonitorConfig
) -> tuple[DriftCheck, ...]:
    """Call drift what is beyond the usual, over all checks together.

    Args:
        statistics: Numbers of all parts.
        monitor_config: Quantile, correction, and how much history is enough.
    """
    p_values = [_p_value(statistic, monitor_config.min_history) for statistic in statistics]
    tested_p_values = [
        p_value
        for p_value, statistic in zip(p_values, statistics, strict=True)
        if statistic.judged and p_value is not None
    ]
    level, any_alarm = alarm_level(np.array(tested_p_values), monitor_config)
    return tuple(
        _check(statistic, p_value, level, monitor_config, is_alarm=any_alarm)
        for statistic, p_value in zip(statistics, p_values, strict=True)
    )


def alarm_level(p_values: Numbers, monitor_config: MonitorConfig) -> tuple[float, bool]:
    """Level at or below which a p-value is an alarm, and whether there is one.

    With M checks and a = 1 - quantile: Bonferroni's a / M, or Benjamini and Hochberg's
    a k / M for the largest k whose k-th smallest p-value is not above it, 1 if there is none.

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
    """Chance of a value at least as extreme as the next one after a history.

    Args:
        value: The next one.
        past_values: Earlier ones, shape (K,), K > 1.
        side: Which extremes count.
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
    """Middle and spread of the prediction."""
    value_spread = float(past_values.std(ddof=1) * np.sqrt(1 + 1 / len(past_values)))
    return float(past_values.mean()), value_spread


def _scaled(statistic: DriftStatistic) -> tuple[float, Numbers]:
    transform = _TO[statistic.scale]
    return float(transform(np.float64(statistic.value))), transform(statistic.history)


def _p_value(statistic: DriftStatistic, min_history: int) -> float | None:
    """None if there is too little history."""
    if len(statistic.history) < min_history:
        return statistic.p_sampling if statistic.alone else None
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
    if statistic.judged:
        check_verdict = "not enough history" if p_value is None else "usual"
        if is_alarm and p_value is not None and p_value <= level:
            check_verdict = "drift"
    has_history = len(statistic.history) >= monitor_config.min_history
    usual_value, alarm_threshold = _learned(statistic, level) if has_history else (None, None)
    return DriftCheck(
        part=statistic.part,
        name=statistic.name,
        statistic=statistic.statistic,
        value=statistic.value,
        low=statistic.low,
        high=statistic.high,
        usual=usual_value if statistic.level is None else statistic.level,
        threshold=alarm_threshold,
        p_value=p_value,
        n_history=len(statistic.history),
        verdict=check_verdict,
    )


def _learned(statistic: DriftStatistic, level: float) -> tuple[float, float]:
    """What is usual, and where drift begins, on the side that is nearer to the value."""
    value, past_values = _scaled(statistic)
    expected_value, value_spread = _predicted(past_values)
    is_upper_side = statistic.side == "above" or (
        statistic.side == "both" and value >= expected_value
    )
    tail_probability = level / 2 if statistic.side == "both" else level
    threshold_distance = float(stats.t.isf(tail_probability, len(past_values) - 1)) * value_spread
    interval_ends = (
        expected_value,
        expected_value + threshold_distance
        if is_upper_side
        else expected_value - threshold_distance,
    )
    usual_value, alarm_threshold = _FROM[statistic.scale](np.array(interval_ends))
    return float(usual_value), float(alarm_threshold)
