"""Data drift: divergence of every column and rates of new items and users."""

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

_SCALE = {"js": 8.0, "psi": 1.0}
"""Times which a divergence is, for near distributions, Pearson's chi-square of two samples."""


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Counts of windows and of their references, as far as both have enough rows.

    Attributes:
        now: Counts of each window that has a reference, the current one last, shape (K + 1, B);
            larger ones are thinned to its size.
        before: Counts of the windows before each together, alike, shape (K + 1, B).
        enough: Whether both have enough rows, shape (K + 1,).
        groups_now, groups_before: Counts by group of users, in the current window and in its
            reference, shape (G, B) each.
    """

    now: Float64
    before: Float64
    enough: npt.NDArray[np.bool_]
    groups_now: Float64
    groups_before: Float64

    @property
    def noise(self) -> float:
        """Of sampling, in both windows together."""
        return effective_noise(self.groups_now) + effective_noise(self.groups_before)


def measure_data_drift(
    encoded_events: EncodedEvents, time_windows: Windows, monitor_config: MonitorConfig
) -> tuple[list[DriftStatistic], tuple[ColumnShares, ...]]:
    """Divergences of all columns and rates of new items and users; nothing without a reference.

    Args:
        encoded_events: All events.
        time_windows: How time is cut.
        monitor_config: Sizes.
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
    """Each window beside the ``reference_windows`` before it; None if the current has none.

    Args:
        encoded_events: All events.
        binned_column: One column of them.
        window_idx: Window of each event.
        time_windows: How time is cut.
        monitor_config: Sizes.
    """
    reference_windows, n_codes, last_window = (
        monitor_config.reference_windows,
        len(binned_column.labels),
        time_windows.n - 1,
    )
    if last_window < reference_windows:
        return None
    counts_by_window = time_windows.counts(window_idx, binned_column.codes, n_codes)
    cumulative_counts = np.concatenate([np.zeros((1, n_codes)), counts_by_window.cumsum(axis=0)])
    now, before = (
        counts_by_window[reference_windows:],
        cumulative_counts[reference_windows:-1] - cumulative_counts[: -1 - reference_windows],
    )
    enough = np.minimum(now.sum(axis=1), before.sum(axis=1)) >= monitor_config.min_rows
    if not enough[-1]:
        return None
    now, before = (
        subsample_counts(now, monitor_config.seed),
        subsample_counts(before, monitor_config.seed),
    )
    current_shares, reference_shares = (
        window_idx == last_window,
        (window_idx >= last_window - reference_windows) & (window_idx < last_window),
    )
    group_counts = [
        counts_by_group(
            encoded_events.user.codes[counts_of_window],
            binned_column.codes[counts_of_window],
            n_codes,
        )
        for counts_of_window in (current_shares, reference_shares)
    ]
    return WindowCounts(now, before, enough, group_counts[0], group_counts[1])


def _novelty(statistic_name: str, value_codes: Int64, window_idx: Int64) -> BinnedColumn:
    """Whether each event's item or user occurs in this window for the first time."""
    is_new = first_window(value_codes, window_idx)[value_codes] == window_idx
    return BinnedColumn(statistic_name, is_new.astype(np.int64), ("known", "new"))


def _divergences(
    statistic_name: str, window_counts: WindowCounts, monitor_config: MonitorConfig
) -> list[DriftStatistic]:
    current_p, reference_q = (
        counts_of_window / np.maximum(counts_of_window.sum(axis=1, keepdims=True), 1)
        for counts_of_window in (window_counts.now, window_counts.before)
    )
    n_used = int(((window_counts.now[-1] + window_counts.before[-1]) > 0).sum())
    window_sizes = (
        np.maximum(counts_of_window.sum(axis=1), 1)
        for counts_of_window in (window_counts.now, window_counts.before)
    )
    expected_noise = max(1, n_used - 1) * sum(
        1 / counts_of_window for counts_of_window in window_sizes
    )
    drift_statistics = []
    for statistic, divergence in DIVERGENCES.items():
        divergences = divergence(current_p, reference_q)
        group_counts = window_counts.groups_now, window_counts.groups_before
        low_value, high_value = divergence_interval(*group_counts, divergence, monitor_config)
        pearson_statistic = _SCALE[statistic] * divergences[-1] / window_counts.noise
        drift_statistics.append(
            DriftStatistic(
                "data",
                statistic_name,
                statistic,
                float(divergences[-1]),
                low_value,
                high_value,
                history=rescale_divergences(divergences, expected_noise / _SCALE[statistic])[:-1][
                    window_counts.enough[:-1]
                ],
                p_sampling=float(stats.chi2.sf(pearson_statistic, max(1, n_used - 1))),
                scale="cube root",
                judged=statistic == monitor_config.statistic,
            )
        )
    return drift_statistics


def _rate(statistic_name: str, window_counts: WindowCounts) -> DriftStatistic:
    """Share of new ones; history says how its log-odds change from those of the reference."""
    now, before = _log_odds(window_counts.now), _log_odds(window_counts.before)
    novelty_share = float(expit(now[-1]))
    standard_error = float(
        np.sqrt(novelty_share * (1 - novelty_share) * effective_noise(window_counts.groups_now))
    )
    low_value, high_value = np.clip(
        (novelty_share - HALF_WIDTH * standard_error, novelty_share + HALF_WIDTH * standard_error),
        0,
        1,
    )
    pearson_statistic = (
        _SCALE["js"] * jensen_shannon(*_last_shares(window_counts)) / window_counts.noise
    )
    return DriftStatistic(
        "data",
        statistic_name,
        "share",
        novelty_share,
        float(low_value),
        float(high_value),
        history=expit(before[-1] + (now - before)[:-1][window_counts.enough[:-1]]),
        p_sampling=float(stats.chi2.sf(pearson_statistic, 1)),
        side="both",
        scale="log-odds",
    )


def _log_odds(counts_by_window: Float64) -> Float64:
    """With half a row more on either side, so that none is infinite, shape (K + 1,)."""
    return np.asarray(np.log((counts_by_window[:, 1] + 0.5) / (counts_by_window[:, 0] + 0.5)))


def _last_shares(window_counts: WindowCounts) -> tuple[Float64, Float64]:
    now, before = window_counts.now[-1], window_counts.before[-1]
    return now / now.sum(), before / before.sum()


def _shares(binned_column: BinnedColumn, window_counts: WindowCounts) -> ColumnShares:
    now, before = _last_shares(window_counts)
    bin_shares = zip(binned_column.labels, before.tolist(), now.tolist(), strict=True)
    return ColumnShares(
        name=binned_column.name,
        bins=tuple(
            BinShares(label=bin_label, reference=reference_q, current=current_p)
            for bin_label, reference_q, current_p in bin_shares
        ),
    )
