"""Drift of a delivery against the accepted events: volume, hours, values and coordinates."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ValidationFailed
from chronotope.contracts.validation_result import FailedExpectation, Severity
from chronotope.validation.divergence import stability_index

PSI_BOUND: Final = 0.25
"""Population stability index above which a distribution counts as changed (Siddiqi 2006)."""
VOLUME_FACTOR: Final = 10
"""Largest accepted ratio between the numbers of rows of two successive deliveries."""
MIN_ROWS: Final = 500
"""Minimum number of rows to compare distributions: with fewer, sampling noise dominates."""

_HOURS: Final = 24
_DECILES: Final = np.linspace(0.1, 0.9, 9)
_SAMPLE_ROWS: Final = 4_096  # sampled from each record batch for quantiles
_MARGIN_DEG: Final = 1.0
_SWAPPED: Final = "latitude and longitude are not swapped, compared with earlier rows"

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CoordinateBounds:
    """Bounding box of 99.8 % of the coordinates with a margin of 1 degree.

    Attributes:
        south, north: Bounds of the latitude, degrees.
        west, east: Bounds of the longitude, degrees.
    """

    south: float
    north: float
    west: float
    east: float

    def contains(self, lat: Numbers, lon: Numbers) -> npt.NDArray[np.bool_]:
        """Whether each point lies inside, shape (n,); False for NaN."""
        return np.asarray(
            (lat >= self.south) & (lat <= self.north) & (lon >= self.west) & (lon <= self.east)
        )


@dataclass(frozen=True, slots=True)
class BatchProfile:
    """Statistics of the accepted events that the next delivery is compared with.

    Attributes:
        hours: Share of events in each local hour, shape (24,); None without events.
        value_edges: Distinct deciles of ``value``, shape (n_edges,); empty without values.
        values: Share of values in each bin between the edges, shape (n_edges + 1,).
        bounds: Bounds of the coordinates; None without coordinates.
        n_last: Number of rows of the last delivery; 0 if unknown.
    """

    hours: Numbers | None
    value_edges: Numbers
    values: Numbers
    bounds: CoordinateBounds | None
    n_last: int = 0


def profile_rows(
    events: Iterable[pa.RecordBatch], *, items: pa.Table | None = None, n_last: int = 0
) -> BatchProfile:
    """Compute the profile of accepted events; quantiles are estimated from a sample.

    Args:
        events: Accepted events in batches.
        items: Item catalogue, whose coordinates are used if no event has any.
        n_last: Number of rows of the last delivery.
    """
    hour_counts, row_samples = np.zeros(_HOURS), [np.empty((3, 0))]
    for batch in events:
        batch_rows = pa.Table.from_batches([batch])
        hour_counts += _hour_counts(batch_rows)
        sample_step = max(1, len(batch_rows) // _SAMPLE_ROWS)
        row_samples.append(
            np.stack(
                [
                    _floats(batch_rows, column_name)[::sample_step]
                    for column_name in (c.VALUE, c.LAT, c.LON)
                ]
            )
        )
    event_values, lat_deg, lon_deg = np.concatenate(row_samples, axis=1)
    coordinate_bounds = _coordinate_bounds(lat_deg, lon_deg)
    if coordinate_bounds is None and items is not None:
        coordinate_bounds = _coordinate_bounds(_floats(items, c.LAT), _floats(items, c.LON))
    event_values = event_values[np.isfinite(event_values)]
    value_edges = (
        np.unique(np.quantile(event_values, _DECILES)) if len(event_values) else np.empty(0)
    )
    return BatchProfile(
        hours=hour_counts / hour_counts.sum() if hour_counts.sum() else None,
        value_edges=value_edges,
        values=_bin_counts(event_values, value_edges) / max(1, len(event_values)),
        bounds=coordinate_bounds,
        n_last=n_last,
    )


@dataclass(slots=True)
class BatchDriftCheck:
    """Comparison of a delivery with a profile: counts over its batches, checked at the end.

    Attributes:
        accepted: Profile of the accepted events.
        n_rows: Number of rows so far.
        n_located: Number of rows with coordinates.
        n_swapped: Number of rows that lie in the bounds only if latitude and longitude are
            swapped.
        hours: Number of rows in each local hour, shape (24,).
        values: Number of values in each bin of the profile, shape (n_edges + 1,).
    """

    accepted: BatchProfile
    n_rows: int = 0
    n_located: int = 0
    n_swapped: int = 0
    hours: Numbers = field(default_factory=lambda: np.zeros(_HOURS))
    values: Numbers = field(init=False)

    def __post_init__(self) -> None:
        """Set the counts of the value bins to zero."""
        self.values = np.zeros(len(self.accepted.value_edges) + 1)

    def add_batch(self, batch_rows: pa.Table) -> None:
        """Add the counts of a batch."""
        self.n_rows += len(batch_rows)
        self.hours += _hour_counts(batch_rows)
        event_values = _floats(batch_rows, c.VALUE)
        self.values += _bin_counts(
            event_values[np.isfinite(event_values)], self.accepted.value_edges
        )
        coordinate_bounds = self.accepted.bounds
        if coordinate_bounds is not None:
            lat_deg, lon_deg = _floats(batch_rows, c.LAT), _floats(batch_rows, c.LON)
            self.n_located += int((np.isfinite(lat_deg) & np.isfinite(lon_deg)).sum())
            self.n_swapped += int(
                (
                    ~coordinate_bounds.contains(lat_deg, lon_deg)
                    & coordinate_bounds.contains(lon_deg, lat_deg)
                ).sum()
            )

    def add_counts(self, other: "BatchDriftCheck") -> None:
        """Add the counts of other batches, compared with the same profile."""
        self.n_rows += other.n_rows
        self.n_located += other.n_located
        self.n_swapped += other.n_swapped
        self.hours = self.hours + other.hours
        self.values = self.values + other.values

    def findings(self) -> tuple[FailedExpectation, ...]:
        """Failed expectations on the complete delivery.

        Raises:
            ValidationFailed: Latitude and longitude are swapped in most rows with coordinates.
        """
        swap_findings = self._swap_findings()
        all_findings = [
            *swap_findings,
            *self._volume_findings(),
            *_distribution_findings("local hours", c.OCCURRED_AT, self.hours, self.accepted.hours),
        ]
        if len(self.accepted.value_edges):
            all_findings += _distribution_findings(
                "values", c.VALUE, self.values, self.accepted.values
            )
        return tuple(all_findings)

    def _swap_findings(self) -> list[FailedExpectation]:
        if not self.n_swapped:
            return []
        observed_share = f"{self.n_swapped} of {self.n_located} located rows"
        if 2 * self.n_swapped > self.n_located:
            raise ValidationFailed(
                f"The delivery fails a critical expectation: {_SWAPPED}",
                received=observed_share,
                way_out="Nothing was written; swap lat and lon in the dataset's YAML",
            )
        return [
            FailedExpectation(_SWAPPED, c.LAT, Severity.WARNING, self.n_swapped, observed_share)
        ]

    def _volume_findings(self) -> list[FailedExpectation]:
        n_last = self.accepted.n_last
        if not n_last or n_last / VOLUME_FACTOR <= self.n_rows <= n_last * VOLUME_FACTOR:
            return []
        expectation_text = f"the volume is within a factor of {VOLUME_FACTOR} of the last delivery"
        return [
            FailedExpectation(
                expectation_text, "", Severity.WARNING, 0, f"{self.n_rows} rows after {n_last}"
            )
        ]


def _distribution_findings(
    subject_name: str, column_name: str, bin_counts: Numbers, accepted_shares: Numbers | None
) -> list[FailedExpectation]:
    n_rows = bin_counts.sum()
    if accepted_shares is None or n_rows < MIN_ROWS:
        return []
    stability = float(stability_index(bin_counts / n_rows, accepted_shares))
    expectation_text = (
        f"the distribution of {subject_name} is that of the last version (PSI at most {PSI_BOUND})"
    )
    drift_finding = FailedExpectation(
        expectation_text, column_name, Severity.WARNING, 0, f"PSI {stability:.2f}"
    )
    return [drift_finding] if stability > PSI_BOUND else []


def _hour_counts(event_rows: pa.Table) -> Numbers:
    local_seconds = event_rows.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy() // 1_000_000
    if c.UTC_OFFSET_MIN in event_rows.column_names:
        utc_offsets = event_rows.column(c.UTC_OFFSET_MIN).cast(pa.int64()).fill_null(0)
        local_seconds = local_seconds + 60 * utc_offsets.to_numpy()
    return np.bincount(local_seconds // 3600 % _HOURS, minlength=_HOURS).astype(np.float64)


def _floats(event_rows: pa.Table, column_name: str) -> Numbers:
    if column_name not in event_rows.column_names:
        return np.full(len(event_rows), np.nan)
    return np.asarray(
        event_rows.column(column_name).cast(pa.float64()).to_numpy(), dtype=np.float64
    )


def _bin_counts(event_values: Numbers, bin_edges: Numbers) -> Numbers:
    bin_idx = np.searchsorted(bin_edges, event_values, side="right")
    return np.bincount(bin_idx, minlength=len(bin_edges) + 1).astype(np.float64)


def _coordinate_bounds(lat: Numbers, lon: Numbers) -> CoordinateBounds | None:
    is_located = np.isfinite(lat) & np.isfinite(lon)
    if not is_located.any():
        return None
    south, north = np.quantile(lat[is_located], (0.001, 0.999))
    west, east = np.quantile(lon[is_located], (0.001, 0.999))
    return CoordinateBounds(
        south - _MARGIN_DEG, north + _MARGIN_DEG, west - _MARGIN_DEG, east + _MARGIN_DEG
    )
