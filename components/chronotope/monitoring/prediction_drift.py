"""Prediction drift: accuracy and time calibration since promotion, and diversity of lists."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from chronotope.contracts.drift_report import WindowRow
from chronotope.contracts.event_log import Float64, Int64
from chronotope.metrics import bootstrap_interval, conformal_levels, gini, ndcg, summarise_metrics
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
"""Bins of the probability integral transform (PIT) of the time to the next event."""
INTERVAL_LEVEL = 0.8
"""Level of the central interval of the predicted time whose coverage is reported."""

SHOWN = ("acc_1", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")
"""Ranking metrics of a window that the report shows."""
DIVERSITY = ("entropy", "coverage", "gini")
"""Metrics of the diversity of recommended lists that are checked for drift."""


@dataclass(frozen=True, slots=True)
class PredictionDrift:
    """Results of the prediction drift checks.

    Attributes:
        measured: Statistics to check; empty without predictions in the current window.
        rows: Metrics of each window, oldest first.
        pit: Share of the current window's targets in each PIT bin; empty without predictions.
        interval_levels: Levels between which 80 % of the current gaps lay, if there are
            predictions.
    """

    measured: list[DriftStatistic]
    rows: tuple[WindowRow, ...]
    pit: tuple[float, ...]
    interval_levels: tuple[float, float] | None = None


def measure_prediction_drift(
    replayed_windows: list[ReplayedPredictions],
    baseline: PromotionBaseline | None,
    time_windows: Windows,
) -> PredictionDrift:
    """Compare the predictions of the current window with promotion and with earlier windows.

    Args:
        replayed_windows: Predictions of the champion by window, oldest first.
        baseline: Accuracy and time calibration of the champion at promotion; None if unknown.
        time_windows: Windows of the comparison.
    """
    window_rows = tuple(_row(replayed, time_windows) for replayed in replayed_windows)
    if not replayed_windows or replayed_windows[-1].window != time_windows.n - 1:
        return PredictionDrift([], window_rows, ())
    statistics = [_accuracy(replayed_windows, baseline)]
    if baseline is not None and baseline.pit is not None:
        statistics.append(_time_calibration(replayed_windows, baseline.pit))
    current_window = replayed_windows[-1]
    for metric_name in DIVERSITY:
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
    statistics.append(_interval_coverage(current_window))
    pit_shares = _pit_counts(current_window) / len(current_window.pit)
    return PredictionDrift(
        statistics,
        window_rows,
        tuple(pit_shares.tolist()),
        conformal_levels(current_window.pit),
    )


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
            "when_coverage_80": float(_is_inside_interval(replayed).mean()),
            "entropy": replayed.entropy,
            "coverage": float((replayed.n_recommended > 0).mean()),
            "gini": gini(replayed.n_recommended),
            "unknown_items": replayed.unknown_share,
        },
    )


def _accuracy(
    replayed_windows: list[ReplayedPredictions], baseline: PromotionBaseline | None
) -> DriftStatistic:
    """Statistic of a fall of NDCG@10 below its value at promotion, or else below history."""
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
            [float(ndcg(replayed.outcomes.rank, 10).mean()) for replayed in replayed_windows[:-1]]
        ),
        side="below",
    )
    if baseline is None:
        return accuracy_statistic
    z_score = (mean_ndcg - baseline.ndcg) / max(
        float(np.hypot(standard_error, baseline.error)), 1e-12
    )
    return replace(
        accuracy_statistic,
        p_sampling=float(stats.norm.cdf(z_score)),
        needs_history=False,
        reference_level=baseline.ndcg,
    )


def _time_calibration(
    replayed_windows: list[ReplayedPredictions], promotion_pit: Float64
) -> DriftStatistic:
    """Jensen-Shannon divergence of the PIT histogram from that at promotion."""
    pit_counts = np.stack([_pit_counts(replayed) for replayed in replayed_windows])
    promotion_shares = promotion_pit / promotion_pit.sum()
    divergences = jensen_shannon(
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
        float(divergences[-1]),
        history=divergences[:-1],
        p_sampling=float(stats.chi2.sf(8 * divergences[-1] / total_noise, PIT_BINS - 1)),
        scale="cube root",
        needs_history=False,
    )


def _interval_coverage(current_window: ReplayedPredictions) -> DriftStatistic:
    """Share of true times inside the central interval; shown only, without an alarm."""
    coverage, standard_error = clustered_mean(
        _is_inside_interval(current_window).astype(np.float64), current_window.outcomes.user
    )
    low_value, high_value = (
        max(0.0, coverage - HALF_WIDTH * standard_error),
        min(1.0, coverage + HALF_WIDTH * standard_error),
    )
    return DriftStatistic(
        "predictions",
        "when",
        "coverage_80",
        coverage,
        low_value,
        high_value,
        can_alarm=False,
        reference_level=INTERVAL_LEVEL,
    )


def _is_inside_interval(replayed: ReplayedPredictions) -> npt.NDArray[np.bool_]:
    return np.abs(2 * replayed.pit - 1) <= INTERVAL_LEVEL


def _pit_bin(replayed: ReplayedPredictions) -> Int64:
    return np.minimum((replayed.pit * PIT_BINS).astype(np.int64), PIT_BINS - 1)


def _pit_counts(replayed: ReplayedPredictions) -> Float64:
    return np.bincount(_pit_bin(replayed), minlength=PIT_BINS).astype(np.float64)
