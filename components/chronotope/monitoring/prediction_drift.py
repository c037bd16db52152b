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
"""Central interval of *when* whose coverage is reported."""

SHOWN = ("acc_1", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")
VARIETY = ("entropy", "coverage", "gini")


@dataclass(frozen=True, slots=True)
class PredictionDrift:
    """Results of the prediction drift checks.

    Attributes:
        measured: Statistics to be checked.
        rows: The rolling metrics, oldest first.
        pit: Share of the current targets by tenth of the predicted time.
    """

    measured: list[DriftStatistic]
    rows: tuple[WindowRow, ...]
    pit: tuple[float, ...]


def measure_prediction_drift(
    replayed_windows: list[ReplayedPredictions],
    baseline: PromotionBaseline | None,
    time_windows: Windows,
) -> PredictionDrift:
    """Compare the current window with the level at promotion and with earlier windows.

    Args:
        replayed_windows: Predictions of the champion by window, oldest first.
        baseline: Its level at promotion; None if unknown.
        time_windows: How time is cut.
    """
    window_rows = tuple(_row(replayed, time_windows) for replayed in replayed_windows)
    if not replayed_windows or replayed_windows[-1].window != time_windows.n - 1:
        return PredictionDrift([], window_rows, ())
    statistics = [_accuracy(replayed_windows, baseline)]
    if baseline is not None and baseline.pit is not None:
        statistics.append(_when(replayed_windows, baseline.pit))
    current_window = replayed_windows[-1]
    for metric_name in VARIETY:
        metric_series = np.array([window_row.metrics[metric_name] for window_row in window_rows])
        statistics.append(
            DriftStatistic(
                "predictions",
                metric_name,
                "mean",
                float(metric_series[-1]),
                history=metric_series[:-1],
                side="both",
            )
        )
    statistics.append(_inner_coverage(current_window))
    pit_shares = _pit_counts(current_window) / len(current_window.pit)
    return PredictionDrift(statistics, window_rows, tuple(pit_shares.tolist()))


def _row(replayed: ReplayedPredictions, time_windows: Windows) -> WindowRow:
    summary = summarise_metrics(replayed.outcomes)
    window_start, window_end = time_windows.span(replayed.window)
    window_metrics = {
        metric_name: summary[metric_name]
        for metric_name in SHOWN
        if np.isfinite(summary[metric_name])
    }
    return WindowRow(
        start=window_start,
        end=window_end,
        n_targets=len(replayed.outcomes),
        metrics={
            **window_metrics,
            "when_coverage_80": float(_inside(replayed).mean()),
            "entropy": replayed.entropy,
            "coverage": float((replayed.named > 0).mean()),
            "gini": gini(replayed.named),
            "unknown_items": replayed.unknown,
        },
    )


def _accuracy(
    replayed_windows: list[ReplayedPredictions], baseline: PromotionBaseline | None
) -> DriftStatistic:
    """NDCG@10 below that at promotion; without a baseline, against history alone."""
    current_window = replayed_windows[-1]
    metric_values = ndcg(current_window.outcomes.rank, 10)
    mean_ndcg, standard_error = clustered_mean(metric_values, current_window.outcomes.user)
    summary = bootstrap_interval(metric_values, current_window.outcomes.user, n_resamples=500)
    accuracy_statistic = DriftStatistic(
        "predictions",
        "accuracy",
        "ndcg_10",
        mean_ndcg,
        summary.low,
        summary.high,
        history=np.array(
            [float(ndcg(metric_of.outcomes.rank, 10).mean()) for metric_of in replayed_windows[:-1]]
        ),
        side="below",
    )
    if baseline is None:
        return accuracy_statistic
    z_score = (mean_ndcg - baseline.ndcg) / max(
        float(np.hypot(standard_error, baseline.error)), 1e-12
    )
    by_chance = float(stats.norm.cdf(z_score))
    return replace(accuracy_statistic, p_sampling=by_chance, alone=True, level=baseline.ndcg)


def _when(replayed_windows: list[ReplayedPredictions], promotion_pit: Float64) -> DriftStatistic:
    """Divergence of where true waits fall in the predicted ones from where they fell then."""
    pit_counts = np.stack([_pit_counts(replayed) for replayed in replayed_windows])
    promotion_shares = promotion_pit / promotion_pit.sum()
    metric_values = jensen_shannon(
        pit_counts / pit_counts.sum(axis=1, keepdims=True), promotion_shares
    )
    current_window = replayed_windows[-1]
    noise_inflation = effective_noise(
        counts_by_group(current_window.outcomes.user, _pit_bin(current_window), PIT_BINS)
    )
    total_noise = noise_inflation * (1 + len(current_window.pit) / promotion_pit.sum())
    return DriftStatistic(
        "predictions",
        "when",
        "js",
        float(metric_values[-1]),
        history=metric_values[:-1],
        p_sampling=float(stats.chi2.sf(8 * metric_values[-1] / total_noise, PIT_BINS - 1)),
        scale="cube root",
        alone=True,
    )


def _inner_coverage(current_window: ReplayedPredictions) -> DriftStatistic:
    """Share of true waits inside the central interval; shown beside the check of *when*."""
    mean_ndcg, standard_error = clustered_mean(
        _inside(current_window).astype(np.float64), current_window.outcomes.user
    )
    low_value, high_value = (
        max(0.0, mean_ndcg - HALF_WIDTH * standard_error),
        min(1.0, mean_ndcg + HALF_WIDTH * standard_error),
    )
    return DriftStatistic(
        "predictions",
        "when",
        "coverage_80",
        mean_ndcg,
        low_value,
        high_value,
        judged=False,
        level=INNER,
    )


def _inside(replayed: ReplayedPredictions) -> npt.NDArray[np.bool_]:
    return np.abs(2 * replayed.pit - 1) <= INNER


def _pit_bin(replayed: ReplayedPredictions) -> Int64:
    return np.minimum((replayed.pit * PIT_BINS).astype(np.int64), PIT_BINS - 1)


def _pit_counts(replayed: ReplayedPredictions) -> Float64:
    return np.bincount(_pit_bin(replayed), minlength=PIT_BINS).astype(np.float64)
