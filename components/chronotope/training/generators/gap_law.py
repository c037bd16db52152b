"""When: the gap to the next event, given the hour of the week and the user's tempo.

Gaps are drawn from histograms: a bin for events of one instant, 16 bins on a log scale below one
hour, one bin an hour up to a week, and 40 bins on a log scale of days above; there the hour of
the day is drawn from the hours of events that end such gaps. Times are rounded to the resolution
of the log.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.spacetime.clock import hour_of_week, local_hour
from chronotope.training.generators.user_profiles import N_CLASSES

_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_WEEK_S: Final = 604_800
_RESOLUTIONS_S: Final = (_DAY_S, _HOUR_S, 60, 1)
N_BUCKETS: Final = 48
"""Hours of the day, of working days and of weekends."""
EDGES_S: Final[Float64] = np.concatenate(
    [
        [0.0],
        np.geomspace(1, _HOUR_S, 17),
        np.arange(2, 169) * float(_HOUR_S),
        np.geomspace(_WEEK_S, 400 * _DAY_S, 41)[1:],
    ]
)
"""Edges of the bins of gaps, seconds; the first bin is the gap zero."""
N_BINS: Final = len(EDGES_S) - 1
_SMOOTHING: Final = 5.0


@dataclass(frozen=True, slots=True)
class GapLaw:
    """Distribution of the next gap.

    Attributes:
        cumulative_share: Of the bins, by tempo class and hour bucket, shape (6, 48, n_bins).
        arrival_hours: Cumulative shares of the local hours after gaps above a week, shape (24,).
        resolution_s: All local times of the log are multiples of it.
    """

    cumulative_share: Float64
    arrival_hours: Float64
    resolution_s: int

    def next_time(
        self, now_s: int, utc_offset_min: int, tempo_class: int, rng: np.random.Generator
    ) -> int:
        """Time of the next event.

        Args:
            now_s: Time of the last event, UTC seconds.
            utc_offset_min: Offset of local time.
            tempo_class: Class of the user.
            rng: Source of the draws.
        """
        local_s = now_s + 60 * utc_offset_min
        cumulative_share = self.cumulative_share[tempo_class, _hour_bucket(local_s)]
        gap_bin = int(np.searchsorted(cumulative_share, rng.random(), side="right"))
        return self.time_after(now_s, utc_offset_min, gap_bin, rng)

    def time_after(
        self, now_s: int, utc_offset_min: int, gap_bin: int, rng: np.random.Generator
    ) -> int:
        """A time whose gap lies in a bin.

        Args:
            now_s: Time of the last event, UTC seconds.
            utc_offset_min: Offset of local time.
            gap_bin: Bin of the gap.
            rng: Source of the draws.
        """
        gap_bin = min(gap_bin, N_BINS - 1)
        if gap_bin == 0:
            return now_s
        local_s, within = now_s + 60 * utc_offset_min, rng.random()
        low, high = EDGES_S[gap_bin], EDGES_S[gap_bin + 1]
        next_local_s = local_s + low + within * (high - low)
        if low >= _WEEK_S:
            hour = int(np.searchsorted(self.arrival_hours, rng.random(), side="right"))
            next_local_s = (next_local_s // _DAY_S) * _DAY_S + (min(hour, 23) + within) * _HOUR_S
        rounded_s = int(next_local_s) // self.resolution_s * self.resolution_s
        return max(rounded_s, local_s) - 60 * utc_offset_min


def gap_bins(gap_s: Int64) -> Int64:
    """Bin of each gap, shape (n,)."""
    bins: Int64 = np.searchsorted(EDGES_S, gap_s, side="right").clip(1, N_BINS) - 1
    return np.where(gap_s == 0, 0, bins)


def fit_gap_law(log: EventLog, classes: Int64) -> GapLaw:
    """Histograms of the gaps of a log.

    Args:
        log: The log.
        classes: Tempo class of each event's user, shape (n_events,).
    """
    event_rows = np.flatnonzero(log.user_start() != np.arange(len(log)))
    gap_s = log.occurred_s[event_rows] - log.occurred_s[event_rows - 1]
    gap_bin = gap_bins(gap_s)
    buckets = _buckets(hour_of_week(log.occurred_s, log.utc_offset_min))[event_rows - 1]
    event_counts = np.zeros((N_CLASSES, N_BUCKETS, N_BINS))
    np.add.at(event_counts, (classes[event_rows], buckets, gap_bin), 1.0)
    of_class = event_counts.sum(axis=1, keepdims=True) + 1e-3
    smoothed = event_counts + _SMOOTHING * of_class / of_class.sum(axis=2, keepdims=True)
    cumulative_share = np.cumsum(smoothed, axis=2)
    local_hours = local_hour(log.occurred_s, log.utc_offset_min).astype(np.int64)
    arrivals = np.bincount(local_hours[event_rows][gap_s >= _WEEK_S], minlength=24) + 1e-9
    local_s = log.occurred_s + 60 * log.utc_offset_min.astype(np.int64)
    return GapLaw(
        cumulative_share=cumulative_share / cumulative_share[:, :, -1:],
        arrival_hours=np.cumsum(arrivals) / arrivals.sum(),
        resolution_s=next(
            step_idx for step_idx in _RESOLUTIONS_S if not (local_s % step_idx).any()
        ),
    )


def _buckets(week_hours: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Int64:
    """Hour of the day, 24 more at weekends."""
    return np.asarray(week_hours % 24 + 24 * (week_hours >= 5 * 24), dtype=np.int64)


def _hour_bucket(local_s: int) -> int:
    """Bucket of a local time, seconds since 1970, which began on a Thursday."""
    is_weekend = (local_s // _DAY_S + 3) % 7 >= 5
    return int(local_s // _HOUR_S % 24 + 24 * is_weekend)
