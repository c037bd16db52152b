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
    events: EncodedEvents, windows: Windows, config: MonitorConfig
) -> tuple[list[DriftStatistic], tuple[ColumnShares, ...]]:
    """Divergences of all columns and rates of new items and users; nothing without a reference.

    Args:
        events: All events.
        windows: How time is cut.
        config: Sizes.
    """
    window = windows.of(events.occurred_s)
    columns = bin_columns(events, window < windows.n - 1, config.n_bins)
    measured: list[DriftStatistic] = []
    shown = []
    for column in columns:
        compared = compare_windows(events, column, window, windows, config)
        if compared is not None:
            measured += _divergences(column.name, compared, config)
            shown.append(_shares(column, compared))
    for name, codes in (("new items", events.item.codes), ("new users", events.user.codes)):
        compared = compare_windows(events, _novelty(name, codes, window), window, windows, config)
        if compared is not None:
            measured.append(_rate(name, compared))
    return measured, tuple(shown)


def compare_windows(
    events: EncodedEvents,
    column: BinnedColumn,
    window: Int64,
    windows: Windows,
    config: MonitorConfig,
) -> WindowCounts | None:
    """Each window beside the ``reference_windows`` before it; None if the current has none.

    Args:
        events: All events.
        column: One column of them.
        window: Window of each event.
        windows: How time is cut.
        config: Sizes.
    """
    r, n_codes, last = config.reference_windows, len(column.labels), windows.n - 1
    if last < r:
        return None
    counts = windows.counts(window, column.codes, n_codes)
    total = np.concatenate([np.zeros((1, n_codes)), counts.cumsum(axis=0)])
    now, before = counts[r:], total[r:-1] - total[: -1 - r]
    enough = np.minimum(now.sum(axis=1), before.sum(axis=1)) >= config.min_rows
    if not enough[-1]:
        return None
    now, before = subsample_counts(now, config.seed), subsample_counts(before, config.seed)
    current, reference = window == last, (window >= last - r) & (window < last)
    groups = [
        counts_by_group(events.user.codes[of], column.codes[of], n_codes)
        for of in (current, reference)
    ]
    return WindowCounts(now, before, enough, groups[0], groups[1])


def _novelty(name: str, codes: Int64, window: Int64) -> BinnedColumn:
    """Whether each event's item or user occurs in this window for the first time."""
    is_new = first_window(codes, window)[codes] == window
    return BinnedColumn(name, is_new.astype(np.int64), ("known", "new"))


def _divergences(name: str, compared: WindowCounts, config: MonitorConfig) -> list[DriftStatistic]:
    p, q = (
        of / np.maximum(of.sum(axis=1, keepdims=True), 1) for of in (compared.now, compared.before)
    )
    n_used = int(((compared.now[-1] + compared.before[-1]) > 0).sum())
    sizes = (np.maximum(of.sum(axis=1), 1) for of in (compared.now, compared.before))
    expected = max(1, n_used - 1) * sum(1 / of for of in sizes)
    found = []
    for statistic, divergence in DIVERGENCES.items():
        values = divergence(p, q)
        groups = compared.groups_now, compared.groups_before
        low, high = divergence_interval(*groups, divergence, config)
        pearson = _SCALE[statistic] * values[-1] / compared.noise
        found.append(
            DriftStatistic(
                "data",
                name,
                statistic,
                float(values[-1]),
                low,
                high,
                history=rescale_divergences(values, expected / _SCALE[statistic])[:-1][
                    compared.enough[:-1]
                ],
                p_sampling=float(stats.chi2.sf(pearson, max(1, n_used - 1))),
                scale="cube root",
                judged=statistic == config.statistic,
            )
        )
    return found


def _rate(name: str, compared: WindowCounts) -> DriftStatistic:
    """Share of new ones; history says how its log-odds change from those of the reference."""
    now, before = _log_odds(compared.now), _log_odds(compared.before)
    share = float(expit(now[-1]))
    error = float(np.sqrt(share * (1 - share) * effective_noise(compared.groups_now)))
    low, high = np.clip((share - HALF_WIDTH * error, share + HALF_WIDTH * error), 0, 1)
    pearson = _SCALE["js"] * jensen_shannon(*_last_shares(compared)) / compared.noise
    return DriftStatistic(
        "data",
        name,
        "share",
        share,
        float(low),
        float(high),
        history=expit(before[-1] + (now - before)[:-1][compared.enough[:-1]]),
        p_sampling=float(stats.chi2.sf(pearson, 1)),
        side="both",
        scale="log-odds",
    )


def _log_odds(counts: Float64) -> Float64:
    """With half a row more on either side, so that none is infinite, shape (K + 1,)."""
    return np.asarray(np.log((counts[:, 1] + 0.5) / (counts[:, 0] + 0.5)))


def _last_shares(compared: WindowCounts) -> tuple[Float64, Float64]:
    now, before = compared.now[-1], compared.before[-1]
    return now / now.sum(), before / before.sum()


def _shares(column: BinnedColumn, compared: WindowCounts) -> ColumnShares:
    now, before = _last_shares(compared)
    bins = zip(column.labels, before.tolist(), now.tolist(), strict=True)
    return ColumnShares(
        name=column.name, bins=tuple(BinShares(label=n, reference=q, current=p) for n, q, p in bins)
    )
