"""Data drift: divergence of each column, and shares of events with new items and users."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import expit

from chronotope.contracts.drift_report import BinShares, ColumnShares
from chronotope.contracts.event_log import Float64, Int64
from chronotope.monitoring.binning import BinnedColumn, bin_columns
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.encoded_events import EncodedEvents
from chronotope.monitoring.sampling_noise import (
    HALF_WIDTH,
    counts_by_group,
    divergence_interval,
    effective_noise,
    rescale_divergences,
    subsample_counts,
)
from chronotope.monitoring.thresholds import DriftStatistic
from chronotope.monitoring.windows import Windows
from chronotope.validation.divergence import first_window, jensen_shannon, stability_index

DIVERGENCES = {"js": jensen_shannon, "psi": stability_index}
"""Divergences between two distributions by name."""

_CHI2_FACTORS = {"js": 8.0, "psi": 1.0}
"""Factor by which a divergence of similar distributions approximates Pearson's chi-square."""


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Counts by bin of each window and of its reference, the pooled windows before it.

    The last of the K + 1 windows is the current one; B is the number of bins.

    Attributes:
        window: Counts of the windows that have a reference, shape (K + 1, B); windows larger
            than the current one are subsampled to its size.
        reference: Counts of their references, likewise subsampled, shape (K + 1, B).
        has_enough_rows: Whether window and reference both have ``min_rows``, shape (K + 1,).
        window_groups, reference_groups: Counts by group of users, for the current window and
            its reference, shape (G, B) each.
    """

    window: Float64
    reference: Float64
    has_enough_rows: npt.NDArray[np.bool_]
    window_groups: Float64
    reference_groups: Float64

    @property
    def noise(self) -> float:
        """Sampling noise of the current window plus that of its reference."""
        return effective_noise(self.window_groups) + effective_noise(self.reference_groups)


def measure_data_drift(
    encoded_events: EncodedEvents, time_windows: Windows, monitor_config: MonitorConfig
) -> tuple[list[DriftStatistic], tuple[ColumnShares, ...]]:
    """Measure the divergence of each column and the shares of new items and users.

    Args:
        encoded_events: All events.
        time_windows: Windows of the comparison.
        monitor_config: Number of bins, of reference windows and of rows required.

    Returns:
        Statistics, and the bin shares of each column in the current window and its reference;
        both are empty if the current window has no reference.
    """
    window_idx = time_windows.of(encoded_events.occurred_s)
    binned_columns = bin_columns(
        encoded_events, window_idx < time_windows.n - 1, monitor_config.n_bins
    )
    statistics: list[DriftStatistic] = []
    column_shares = []
    for binned_column in binned_columns:
        window_counts = compare_windows(
            encoded_events, binned_column, window_idx, time_windows, monitor_config
        )
        if window_counts is not None:
            statistics += _divergences(binned_column.name, window_counts, monitor_config)
            column_shares.append(_shares(binned_column, window_counts))
    for statistic_name, value_codes in (
        ("new items", encoded_events.item.codes),
        ("new users", encoded_events.user.codes),
    ):
        window_counts = compare_windows(
            encoded_events,
            _novelty(statistic_name, value_codes, window_idx),
            window_idx,
            time_windows,
            monitor_config,
        )
        if window_counts is not None:
            statistics.append(_rate(statistic_name, window_counts))
    return statistics, tuple(column_shares)


def compare_windows(
    encoded_events: EncodedEvents,
    binned_column: BinnedColumn,
    window_idx: Int64,
    time_windows: Windows,
    monitor_config: MonitorConfig,
) -> WindowCounts | None:
    """Count a column in each window and in the ``reference_windows`` before it.

    Args:
        encoded_events: All events.
        binned_column: Column to count.
        window_idx: Window of each event, shape (n_events,).
        time_windows: Windows of the comparison.
        monitor_config: Number of reference windows and of rows required.

    Returns:
        The counts, or None if the current window or its reference has too few rows.
    """
    reference_windows, last_window = monitor_config.reference_windows, time_windows.n - 1
    n_codes = len(binned_column.labels)
    if last_window < reference_windows:
        return None
    counts_by_window = time_windows.counts(window_idx, binned_column.codes, n_codes)
    cumulative_counts = np.concatenate([np.zeros((1, n_codes)), counts_by_window.cumsum(axis=0)])
    window_counts = counts_by_window[reference_windows:]
    reference_counts = (
        cumulative_counts[reference_windows:-1] - cumulative_counts[: -1 - reference_windows]
    )
    n_rows = np.minimum(window_counts.sum(axis=1), reference_counts.sum(axis=1))
    has_enough_rows = n_rows >= monitor_config.min_rows
    if not has_enough_rows[-1]:
        return None
    is_current = window_idx == last_window
    is_reference = (window_idx >= last_window - reference_windows) & (window_idx < last_window)
    window_groups, reference_groups = (
        counts_by_group(encoded_events.user.codes[rows], binned_column.codes[rows], n_codes)
        for rows in (is_current, is_reference)
    )
    return WindowCounts(
        window=subsample_counts(window_counts, monitor_config.seed),
        reference=subsample_counts(reference_counts, monitor_config.seed),
        has_enough_rows=has_enough_rows,
        window_groups=window_groups,
        reference_groups=reference_groups,
    )


def _novelty(statistic_name: str, value_codes: Int64, window_idx: Int64) -> BinnedColumn:
    """Column with bin 1 if the item or user of an event first occurs in its window, else 0."""
    is_new = first_window(value_codes, window_idx)[value_codes] == window_idx
    return BinnedColumn(statistic_name, is_new.astype(np.int64), ("known", "new"))


def _divergences(
    statistic_name: str, window_counts: WindowCounts, monitor_config: MonitorConfig
) -> list[DriftStatistic]:
    both_counts = (window_counts.window, window_counts.reference)
    sizes = [np.maximum(bin_counts.sum(axis=1, keepdims=True), 1) for bin_counts in both_counts]
    current_p, reference_q = (
        bin_counts / size for bin_counts, size in zip(both_counts, sizes, strict=True)
    )
    n_used = int(((window_counts.window[-1] + window_counts.reference[-1]) > 0).sum())
    expected_chi2 = max(1, n_used - 1) * sum(1 / size[:, 0] for size in sizes)
    drift_statistics = []
    for statistic, divergence in DIVERGENCES.items():
        divergences = divergence(current_p, reference_q)
        group_counts = window_counts.window_groups, window_counts.reference_groups
        low_value, high_value = divergence_interval(*group_counts, divergence, monitor_config)
        pearson_statistic = _CHI2_FACTORS[statistic] * divergences[-1] / window_counts.noise
        expected_noise = expected_chi2 / _CHI2_FACTORS[statistic]
        user_history = rescale_divergences(divergences, expected_noise)[:-1]
        drift_statistics.append(
            DriftStatistic(
                "data",
                statistic_name,
                statistic,
                float(divergences[-1]),
                low_value,
                high_value,
                history=user_history[window_counts.has_enough_rows[:-1]],
                p_sampling=float(stats.chi2.sf(pearson_statistic, max(1, n_used - 1))),
                scale="cube root",
                can_alarm=statistic == monitor_config.statistic,
            )
        )
    return drift_statistics


def _rate(statistic_name: str, window_counts: WindowCounts) -> DriftStatistic:
    """Share of events with new items or users.

    Its history is the reference share of the current window, changed in log-odds as much as
    each earlier window differed from its own reference.
    """
    current, reference = _log_odds(window_counts.window), _log_odds(window_counts.reference)
    past_changes = (current - reference)[:-1][window_counts.has_enough_rows[:-1]]
    novelty_share = float(expit(current[-1]))
    sampling_noise = effective_noise(window_counts.window_groups)
    standard_error = float(np.sqrt(novelty_share * (1 - novelty_share) * sampling_noise))
    low_value, high_value = np.clip(
        (novelty_share - HALF_WIDTH * standard_error, novelty_share + HALF_WIDTH * standard_error),
        0,
        1,
    )
    pearson_statistic = (
        _CHI2_FACTORS["js"] * jensen_shannon(*_last_shares(window_counts)) / window_counts.noise
    )
    return DriftStatistic(
        "data",
        statistic_name,
        "share",
        novelty_share,
        float(low_value),
        float(high_value),
        history=expit(reference[-1] + past_changes),
        p_sampling=float(stats.chi2.sf(pearson_statistic, 1)),
        side="both",
        scale="log-odds",
    )


def _log_odds(counts_by_window: Float64) -> Float64:
    """Log-odds of bin 1, finite because half a row is added to each bin, shape (K + 1,)."""
    return np.asarray(np.log((counts_by_window[:, 1] + 0.5) / (counts_by_window[:, 0] + 0.5)))


def _last_shares(window_counts: WindowCounts) -> tuple[Float64, Float64]:
    """Bin shares of the current window and of its reference, shape (B,) each."""
    current, reference = window_counts.window[-1], window_counts.reference[-1]
    return current / current.sum(), reference / reference.sum()


def _shares(binned_column: BinnedColumn, window_counts: WindowCounts) -> ColumnShares:
    current, reference = _last_shares(window_counts)
    bin_shares = zip(binned_column.labels, reference.tolist(), current.tolist(), strict=True)
    return ColumnShares(
        name=binned_column.name,
        bins=tuple(
            BinShares(label=bin_label, reference=reference_q, current=current_p)
            for bin_label, reference_q, current_p in bin_shares
        ),
    )
