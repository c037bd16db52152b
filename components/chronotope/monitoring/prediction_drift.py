"""Drift of predictions: accuracy against the level at promotion, *when*, and variety."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from chronotope.contracts.drift_report import WindowRow
from chronotope.contracts.event_log import Float64, Int64
from chronotope.metrics import bootstrap_interval, gini, ndcg, summarise_metrics
from chronotope.monitoring.prediction_replay import ReplayedPredictions
from chronotope.monitoring.promotion_baseline import PromotionBaseline
from chronotope.monitoring.sampling_noise import (
    HALF_WIDTH,
    clustered_mean,
    counts_by_group,
    effective_noise,
)
from chronotope.monitoring.thresholds import DriftStatistic
from chronotope.monitoring.windows import Windows
from chronotope.validation.divergence import jensen_shannon

PIT_BINS = 10
INNER = 0.8
"""Central interval of *when* whose coverage is told."""

SHOWN = ("acc_1", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")
VARIETY = ("entropy", "coverage", "gini")


@dataclass(frozen=True, slots=True)
class PredictionDrift:
    """What was found of predictions.

    Attributes:
        measured: To be judged.
        rows: The rolling metrics, oldest first.
        pit: Share of the current targets by tenth of the predicted time.
    """

    measured: list[DriftStatistic]
    rows: tuple[WindowRow, ...]
    pit: tuple[float, ...]


def measure_prediction_drift(
    answered: list[ReplayedPredictions], level: PromotionBaseline | None, windows: Windows
) -> PredictionDrift:
    """Compare the current window with the level at promotion and with earlier windows.

    Args:
        answered: What the champion said, window by window, oldest first.
        level: Its level at promotion; None if unknown.
        windows: How time is cut.
    """
    rows = tuple(_row(each, windows) for each in answered)
    if not answered or answered[-1].window != windows.n - 1:
        return PredictionDrift([], rows, ())
    measured = [_accuracy(answered, level)]
    if level is not None and level.pit is not None:
        measured.append(_when(answered, level.pit))
    now = answered[-1]
    for name in VARIETY:
        series = np.array([row.metrics[name] for row in rows])
        measured.append(
            DriftStatistic(
                "predictions", name, "mean", float(series[-1]), history=series[:-1], side="both"
            )
        )
    measured.append(_inner_coverage(now))
    pit = _pit_counts(now) / len(now.pit)
    return PredictionDrift(measured, rows, tuple(pit.tolist()))


def _row(each: ReplayedPredictions, windows: Windows) -> WindowRow:
    told = summarise_metrics(each.outcomes)
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


def _accuracy(
    answered: list[ReplayedPredictions], level: PromotionBaseline | None
) -> DriftStatistic:
    """NDCG@10 below that at promotion; where that is unknown, history alone judges."""
    now = answered[-1]
    values = ndcg(now.outcomes.rank, 10)
    mean, error = clustered_mean(values, now.outcomes.user)
    told = bootstrap_interval(values, now.outcomes.user, n_resamples=500)
    fallen = DriftStatistic(
        "predictions",
        "accuracy",
        "ndcg_10",
        mean,
        told.low,
        told.high,
        history=np.array([float(ndcg(of.outcomes.rank, 10).mean()) for of in answered[:-1]]),
        side="below",
    )
    if level is None:
        return fallen
    z = (mean - level.ndcg) / max(float(np.hypot(error, level.error)), 1e-12)
    by_chance = float(stats.norm.cdf(z))
    return replace(fallen, p_sampling=by_chance, alone=True, level=level.ndcg)


def _when(answered: list[ReplayedPredictions], promoted: Float64) -> DriftStatistic:
    """Divergence of where true waits fall in the predicted ones from where they fell then."""
    counts = np.stack([_pit_counts(each) for each in answered])
    then = promoted / promoted.sum()
    values = jensen_shannon(counts / counts.sum(axis=1, keepdims=True), then)
    now = answered[-1]
    alike = effective_noise(counts_by_group(now.outcomes.user, _pit_bin(now), PIT_BINS))
    both = alike * (1 + len(now.pit) / promoted.sum())
    return DriftStatistic(
        "predictions",
        "when",
        "js",
        float(values[-1]),
        history=values[:-1],
        p_sampling=float(stats.chi2.sf(8 * values[-1] / both, PIT_BINS - 1)),
        scale="cube root",
        alone=True,
    )


def _inner_coverage(now: ReplayedPredictions) -> DriftStatistic:
    """Share of true waits inside the central interval; the check of *when* judges."""
    mean, error = clustered_mean(_inside(now).astype(np.float64), now.outcomes.user)
    low, high = max(0.0, mean - HALF_WIDTH * error), min(1.0, mean + HALF_WIDTH * error)
    return DriftStatistic(
        "predictions", "when", "coverage_80", mean, low, high, judged=False, level=INNER
    )


def _inside(each: ReplayedPredictions) -> npt.NDArray[np.bool_]:
    return np.abs(2 * each.pit - 1) <= INNER


def _pit_bin(each: ReplayedPredictions) -> Int64:
    return np.minimum((each.pit * PIT_BINS).astype(np.int64), PIT_BINS - 1)


def _pit_counts(each: ReplayedPredictions) -> Float64:
    return np.bincount(_pit_bin(each), minlength=PIT_BINS).astype(np.float64)
