"""Drift of predictions: accuracy against the level at promotion, *when*, and variety."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from chronotope.contracts.eventlog import Float64, Int64
from chronotope.contracts.monitored import WindowRow
from chronotope.metrics.diversity import gini
from chronotope.metrics.summary import bootstrap_interval, gains, summarise
from chronotope.monitoring.asked import Answered
from chronotope.monitoring.learned import Measured
from chronotope.monitoring.level import Level
from chronotope.monitoring.resampled import HALF_WIDTH, by_group, clustered_mean, noise
from chronotope.monitoring.windows import Windows
from chronotope.validation.divergence import jensen_shannon

PIT_BINS = 10
INNER = 0.8
"""Central interval of *when* whose coverage is told."""

SHOWN = ("acc_1", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")
VARIETY = ("entropy", "coverage", "gini")


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found of predictions.

    Attributes:
        measured: To be judged.
        rows: The rolling metrics, oldest first.
        pit: Share of the current targets by tenth of the predicted time.
    """

    measured: list[Measured]
    rows: tuple[WindowRow, ...]
    pit: tuple[float, ...]


def prediction_drift(answered: list[Answered], level: Level | None, windows: Windows) -> Judged:
    """Compare the current window with the level at promotion and with earlier windows.

    Args:
        answered: What the champion said, window by window, oldest first.
        level: Its level at promotion; None if unknown.
        windows: How time is cut.
    """
    rows = tuple(_row(each, windows) for each in answered)
    if not answered or answered[-1].window != windows.n - 1:
        return Judged([], rows, ())
    measured = [_accuracy(answered, level)]
    if level is not None and level.pit is not None:
        measured.append(_when(answered, level.pit))
    now = answered[-1]
    for name in VARIETY:
        series = np.array([row.metrics[name] for row in rows])
        measured.append(
            Measured(
                "predictions", name, "mean", float(series[-1]), history=series[:-1], side="both"
            )
        )
    measured.append(_inner_coverage(now))
    pit = _pit_counts(now) / len(now.pit)
    return Judged(measured, rows, tuple(pit.tolist()))


def _row(each: Answered, windows: Windows) -> WindowRow:
    told = summarise(each.outcomes)
    start, end = windows.span(each.window)
    metrics = {name: told[name] for name in SHOWN if np.isfinite(told[name])}
    return WindowRow(
        start=start,
        end=end,
        n_targets=len(each.outcomes),
        metrics={
            **metrics,
            "when_coverage_80": float(_inside(each).mean()),
            "entropy": each.entropy,
            "coverage": float((each.named > 0).mean()),
            "gini": gini(each.named),
            "unknown_items": each.unknown,
        },
    )


def _accuracy(answered: list[Answered], level: Level | None) -> Measured:
    """NDCG@10 below that at promotion; where that is unknown, history alone judges."""
    now = answered[-1]
    values = gains(now.outcomes.rank, 10)
    mean, error = clustered_mean(values, now.outcomes.user)
    told = bootstrap_interval(values, now.outcomes.user, n=500)
    fallen = Measured(
        "predictions",
        "accuracy",
        "ndcg_10",
        mean,
        told.low,
        told.high,
        history=np.array([float(gains(of.outcomes.rank, 10).mean()) for of in answered[:-1]]),
        side="below",
    )
    if level is None:
        return fallen
    z = (mean - level.ndcg) / max(float(np.hypot(error, level.error)), 1e-12)
    by_chance = float(stats.norm.cdf(z))
    return replace(fallen, p_sampling=by_chance, alone=True, level=level.ndcg)


def _when(answered: list[Answered], promoted: Float64) -> Measured:
    """Divergence of where true waits fall in the predicted ones from where they fell then."""
    counts = np.stack([_pit_counts(each) for each in answered])
    then = promoted / promoted.sum()
    values = jensen_shannon(counts / counts.sum(axis=1, keepdims=True), then)
    now = answered[-1]
    alike = noise(by_group(now.outcomes.user, _pit_bin(now), PIT_BINS))
    both = alike * (1 + len(now.pit) / promoted.sum())
    return Measured(
        "predictions",
        "when",
        "js",
        float(values[-1]),
        history=values[:-1],
        p_sampling=float(stats.chi2.sf(8 * values[-1] / both, PIT_BINS - 1)),
        scale="cube root",
        alone=True,
    )


def _inner_coverage(now: Answered) -> Measured:
    """Share of true waits inside the central interval; the check of *when* judges."""
    mean, error = clustered_mean(_inside(now).astype(np.float64), now.outcomes.user)
    low, high = max(0.0, mean - HALF_WIDTH * error), min(1.0, mean + HALF_WIDTH * error)
    return Measured(
        "predictions", "when", "coverage_80", mean, low, high, judged=False, level=INNER
    )


def _inside(each: Answered) -> npt.NDArray[np.bool_]:
    return np.abs(2 * each.pit - 1) <= INNER


def _pit_bin(each: Answered) -> Int64:
    return np.minimum((each.pit * PIT_BINS).astype(np.int64), PIT_BINS - 1)


def _pit_counts(each: Answered) -> Float64:
    return np.bincount(_pit_bin(each), minlength=PIT_BINS).astype(np.float64)
