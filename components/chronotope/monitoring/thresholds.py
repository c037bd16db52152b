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
        judged: Whether it may call drift; others are shown.
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
    measured: Sequence[DriftStatistic], config: MonitorConfig
) -> tuple[DriftCheck, ...]:
    """Call drift what is beyond the usual, over all checks together.

    Args:
        measured: Numbers of all parts.
        config: Quantile, correction, and how much history is enough.
    """
    p_values = [_p_value(each, config.min_history) for each in measured]
    tested = [
        p for p, each in zip(p_values, measured, strict=True) if each.judged and p is not None
    ]
    level, any_alarm = alarm_level(np.array(tested), config)
    return tuple(
        _check(each, p, level, config, alarms=any_alarm)
        for each, p in zip(measured, p_values, strict=True)
    )


def alarm_level(p_values: Numbers, config: MonitorConfig) -> tuple[float, bool]:
    """Level at or below which a p-value is an alarm, and whether there is one.

    With M checks and a = 1 - quantile: Bonferroni's a / M, or Benjamini and Hochberg's
    a k / M for the largest k whose k-th smallest p-value is not above it, 1 if there is none.

    Args:
        p_values: Of all checks that are judged, shape (M,).
        config: Quantile and correction.

    Source: Benjamini & Hochberg (1995).
    """
    alpha, m = 1 - config.quantile, max(1, len(p_values))
    if config.correction == "bonferroni":
        return alpha / m, bool((p_values <= alpha / m).any())
    steps = alpha * np.arange(1, len(p_values) + 1) / m
    held = np.flatnonzero(np.sort(p_values) <= steps)
    return (float(steps[held[-1]]), True) if len(held) else (alpha / m, False)


def historical_p_value(value: float, history: Numbers, side: Side) -> float:
    """Chance of a value at least as extreme as the next one after a history.

    Args:
        value: The next one.
        history: Earlier ones, shape (K,), K > 1.
        side: Which extremes count.
    """
    middle, spread = _predicted(history)
    if abs(value - middle) <= ROUNDING * abs(middle):
        return 1.0
    t = (value - middle) / spread if spread else float(np.copysign(np.inf, value - middle))
    t = {"above": t, "below": -t, "both": abs(t)}[side]
    return min(1.0, float(stats.t.sf(t, len(history) - 1)) * (2 if side == "both" else 1))


def _predicted(history: Numbers) -> tuple[float, float]:
    """Middle and spread of the prediction."""
    spread = float(history.std(ddof=1) * np.sqrt(1 + 1 / len(history)))
    return float(history.mean()), spread


def _scaled(each: DriftStatistic) -> tuple[float, Numbers]:
    to = _TO[each.scale]
    return float(to(np.float64(each.value))), to(each.history)


def _p_value(each: DriftStatistic, min_history: int) -> float | None:
    """None if it cannot be judged."""
    if len(each.history) < min_history:
        return each.p_sampling if each.alone else None
    return max(each.p_sampling, historical_p_value(*_scaled(each), each.side))


def _check(
    each: DriftStatistic, p: float | None, level: float, config: MonitorConfig, *, alarms: bool
) -> DriftCheck:
    verdict: DriftStatus = "shown"
    if each.judged:
        verdict = "not enough history" if p is None else "usual"
        if alarms and p is not None and p <= level:
            verdict = "drift"
    enough = len(each.history) >= config.min_history
    usual, threshold = _learned(each, level) if enough else (None, None)
    return DriftCheck(
        part=each.part,
        name=each.name,
        statistic=each.statistic,
        value=each.value,
        low=each.low,
        high=each.high,
        usual=usual if each.level is None else each.level,
        threshold=threshold,
        p_value=p,
        n_history=len(each.history),
        verdict=verdict,
    )


def _learned(each: DriftStatistic, level: float) -> tuple[float, float]:
    """What is usual, and where drift begins, on the side that is nearer to the value."""
    value, history = _scaled(each)
    middle, spread = _predicted(history)
    above = each.side == "above" or (each.side == "both" and value >= middle)
    tail = level / 2 if each.side == "both" else level
    far = float(stats.t.isf(tail, len(history) - 1)) * spread
    ends = middle, middle + far if above else middle - far
    usual, threshold = _FROM[each.scale](np.array(ends))
    return float(usual), float(threshold)
