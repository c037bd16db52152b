"""A delivery as a whole against the last accepted version: volume, hours, values, places."""

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
"""Above this a distribution counts as changed (Siddiqi 2006)."""
VOLUME_FACTOR: Final = 10
MIN_ROWS: Final = 500
"""With fewer rows a share is mostly chance, and distributions are not compared."""

_HOURS: Final = 24
_DECILES: Final = np.linspace(0.1, 0.9, 9)
_SAMPLE: Final = 4_096  # rows of each record batch that quantiles are taken from
_MARGIN_DEG: Final = 1.0
_SWAPPED: Final = "latitude and longitude are not swapped, judged by where earlier rows lie"

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CoordinateBounds:
    """Where nearly all located rows lie, in degrees, a degree of margin included."""

    south: float
    north: float
    west: float
    east: float

    def holds(self, lat: Numbers, lon: Numbers) -> npt.NDArray[np.bool_]:
        """Whether each point lies inside; an unknown one does not."""
        return np.asarray(
            (lat >= self.south) & (lat <= self.north) & (lon >= self.west) & (lon <= self.east)
        )


@dataclass(frozen=True, slots=True)
class BatchProfile:
    """What later deliveries are compared with.

    Attributes:
        hours: Share of each local hour, shape (24,); None without events.
        value_edges: Distinct deciles of the values; empty without values.
        values: Share of the values between the edges, one more than there are edges.
        box: Where rows lie; None if none is located.
        n_last: Rows that the last delivery brought; 0 if unknown.
    """

    hours: Numbers | None
    value_edges: Numbers
    values: Numbers
    box: CoordinateBounds | None
    n_last: int = 0


def profile_rows(
    events: Iterable[pa.RecordBatch], *, items: pa.Table | None = None, n_last: int = 0
) -> BatchProfile:
    """Profile accepted rows, batch by batch; quantiles come from an even sample.

    Args:
        events: Accepted events.
        items: The catalogue, whose coordinates count when no event has any.
        n_last: Rows that the last delivery brought.
    """
    hours, sampled = np.zeros(_HOURS), [np.empty((3, 0))]
    for batch in events:
        rows = pa.Table.from_batches([batch])
        hours += _hour_counts(rows)
        step = max(1, len(rows) // _SAMPLE)
        sampled.append(np.stack([_floats(rows, n)[::step] for n in (c.VALUE, c.LAT, c.LON)]))
    value, lat, lon = np.concatenate(sampled, axis=1)
    box = _box(lat, lon)
    if box is None and items is not None:
        box = _box(_floats(items, c.LAT), _floats(items, c.LON))
    value = value[np.isfinite(value)]
    edges = np.unique(np.quantile(value, _DECILES)) if len(value) else np.empty(0)
    return BatchProfile(
        hours=hours / hours.sum() if hours.sum() else None,
        value_edges=edges,
        values=_bins(value, edges) / max(1, len(value)),
        box=box,
        n_last=n_last,
    )


@dataclass(slots=True)
class BatchDriftCheck:
    """Counts over the batches of one delivery, judged at its end."""

    accepted: BatchProfile
    n_rows: int = 0
    n_located: int = 0
    n_swapped: int = 0
    hours: Numbers = field(default_factory=lambda: np.zeros(_HOURS))
    values: Numbers = field(init=False)

    def __post_init__(self) -> None:
        """Start with empty bins."""
        self.values = np.zeros(len(self.accepted.value_edges) + 1)

    def see(self, rows: pa.Table) -> None:
        """Count a batch."""
        self.n_rows += len(rows)
        self.hours += _hour_counts(rows)
        value = _floats(rows, c.VALUE)
        self.values += _bins(value[np.isfinite(value)], self.accepted.value_edges)
        box = self.accepted.box
        if box is not None:
            lat, lon = _floats(rows, c.LAT), _floats(rows, c.LON)
            self.n_located += int((np.isfinite(lat) & np.isfinite(lon)).sum())
            self.n_swapped += int((~box.holds(lat, lon) & box.holds(lon, lat)).sum())

    def findings(self) -> tuple[FailedExpectation, ...]:
        """What the delivery as a whole does not hold.

        Raises:
            ValidationFailed: Most located rows are swapped.
        """
        swapped = self._swapped()
        found = [
            *swapped,
            *self._volume(),
            *_changed("local hours", c.OCCURRED_AT, self.hours, self.accepted.hours),
        ]
        if len(self.accepted.value_edges):
            found += _changed("values", c.VALUE, self.values, self.accepted.values)
        return tuple(found)

    def _swapped(self) -> list[FailedExpectation]:
        if not self.n_swapped:
            return []
        seen = f"{self.n_swapped} of {self.n_located} located rows"
        if 2 * self.n_swapped > self.n_located:
            raise ValidationFailed(
                f"The delivery breaks a critical expectation: {_SWAPPED}",
                received=seen,
                way_out="Nothing was written; exchange lat and lon in the dataset's YAML",
            )
        return [FailedExpectation(_SWAPPED, c.LAT, Severity.WARNING, self.n_swapped, seen)]

    def _volume(self) -> list[FailedExpectation]:
        last = self.accepted.n_last
        if not last or last / VOLUME_FACTOR <= self.n_rows <= last * VOLUME_FACTOR:
            return []
        words = f"the volume is within a factor of {VOLUME_FACTOR} of the last delivery"
        return [
            FailedExpectation(words, "", Severity.WARNING, 0, f"{self.n_rows} rows after {last}")
        ]


def _changed(
    what: str, column: str, counts: Numbers, accepted: Numbers | None
) -> list[FailedExpectation]:
    n_rows = counts.sum()
    if accepted is None or n_rows < MIN_ROWS:
        return []
    index = float(stability_index(counts / n_rows, accepted))
    words = f"the distribution of {what} is that of the last version (PSI at most {PSI_BOUND})"
    found = FailedExpectation(words, column, Severity.WARNING, 0, f"PSI {index:.2f}")
    return [found] if index > PSI_BOUND else []


def _hour_counts(rows: pa.Table) -> Numbers:
    seconds = rows.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy() // 1_000_000
    if c.UTC_OFFSET_MIN in rows.column_names:
        offsets = rows.column(c.UTC_OFFSET_MIN).cast(pa.int64()).fill_null(0)
        seconds = seconds + 60 * offsets.to_numpy()
    return np.bincount(seconds // 3600 % _HOURS, minlength=_HOURS).astype(np.float64)


def _floats(rows: pa.Table, name: str) -> Numbers:
    if name not in rows.column_names:
        return np.full(len(rows), np.nan)
    return np.asarray(rows.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _bins(values: Numbers, edges: Numbers) -> Numbers:
    found = np.searchsorted(edges, values, side="right")
    return np.bincount(found, minlength=len(edges) + 1).astype(np.float64)


def _box(lat: Numbers, lon: Numbers) -> CoordinateBounds | None:
    at = np.isfinite(lat) & np.isfinite(lon)
    if not at.any():
        return None
    south, north = np.quantile(lat[at], (0.001, 0.999))
    west, east = np.quantile(lon[at], (0.001, 0.999))
    return CoordinateBounds(
        south - _MARGIN_DEG, north + _MARGIN_DEG, west - _MARGIN_DEG, east + _MARGIN_DEG
    )
