"""Features of behaviour: how an event differs from its user's and its item's past.

Every feature of an event reads that event and earlier ones only. Windows are 1 hour, 1 day, 7 days
and 30 days. Columns that a log does not have (amounts, coordinates) leave out their features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.anomalies.time_windows import KeyedEvents
from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import EventLog, Float32, Float64, Int64
from chronotope.spacetime.clock import hour_of_week, local_hour
from chronotope.spacetime.distances import haversine_km

HOUR_S: Final = 3600
DAY_S: Final = 86_400
WINDOWS_S: Final = {"1h": HOUR_S, "1d": DAY_S, "7d": 7 * DAY_S, "30d": 30 * DAY_S}
SPEND_WINDOWS: Final = ("1d", "7d", "30d")
RISK_WINDOWS: Final = ("1d", "7d", "30d")

_N_HOUR_BINS: Final = 8
_PRIOR_EVENTS: Final = 5.0
"""Events that the typical amount of all users counts for beside those of a user."""

_WINDOW_PRIOR: Final = 2.0
_MIN_SPREAD: Final = 0.1
"""Smallest standard deviation of a user's amounts, as a share of their mean."""

_RECENT_DAYS: Final = 28
_MIN_TRAVEL_H: Final = 1 / 60
_LAST_NIGHT_HOUR: Final = 7
_FIRST_WEEKEND_HOUR: Final = 5 * 24

FeatureColumns = dict[str, Float64]


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features of events.

    Attributes:
        names: Names of the features, shape (n_features,).
        values: Shape (n_events, n_features).
    """

    names: tuple[str, ...]
    values: Float32

    def select(self, names: Sequence[str]) -> "FeatureTable":
        """The named features, in that order.

        Raises:
            DataError: A feature is missing.
        """
        missing_names = [name for name in names if name not in self.names]
        if missing_names:
            raise DataError(
                "The events lack features that the detector reads",
                received=f"missing {missing_names}",
                way_out="Ingest the columns that the detector was trained with, or train it again",
            )
        return FeatureTable(tuple(names), self.values[:, [self.names.index(n) for n in names]])

    def take(self, row_idx: npt.NDArray[np.bool_] | Int64) -> "FeatureTable":
        """Features of some events, by mask or position."""
        return FeatureTable(self.names, self.values[row_idx])

    def joined(self, other: "FeatureTable") -> "FeatureTable":
        """These features and those of another table of the same events."""
        return FeatureTable(
            self.names + other.names, np.concatenate([self.values, other.values], axis=1)
        )


@dataclass(frozen=True, slots=True)
class ItemPlaces:
    """Coordinates of the items.

    Attributes:
        lat: Degrees WGS 84, shape (n_items,); NaN if unknown.
        lon: Degrees, shape (n_items,).
    """

    lat: Float64
    lon: Float64


@dataclass(frozen=True, slots=True)
class EventLabels:
    """Outcomes of events, aligned with a log.

    Attributes:
        is_anomalous: 1 for an anomaly, 0 for a genuine event, shape (n_events,).
        is_labelled: Whether the outcome is known at all, shape (n_events,).
    """

    is_anomalous: Float64
    is_labelled: npt.NDArray[np.bool_]


def behaviour_features(
    log: EventLog, places: ItemPlaces | None = None, *, typical_value: float | None = None
) -> FeatureTable:
    """Features of every event of a log, without any label.

    Args:
        log: The log; only earlier events count for an event, at one instant in the log's order.
        places: Coordinates of the items; None leaves out distance and speed.
        typical_value: Mean amount of the events a detector is trained on, the prior of a user
            without events; by default that of the first tenth of the log's time.
    """
    by_user = KeyedEvents.by(log.user_idx, log.occurred_s)
    by_item = KeyedEvents.by(log.item_idx, log.occurred_s)
    columns = _velocity("user", by_user) | _velocity("item", by_item)
    columns |= _time_features(log, by_user) | _novelty(log, by_user)
    if np.isfinite(log.value).any():
        prior_value = mean_value(log) if typical_value is None else typical_value
        columns |= _amounts(log, by_user, by_item, prior_value)
    if places is not None and np.isfinite(places.lat).any():
        columns |= _travel(log, by_user, places)
    return _table(columns)


def risk_features(log: EventLog, labels: EventLabels, *, delay_days: int) -> FeatureTable:
    """Share and number of anomalies of an event's user and item among labels known by then.

    Args:
        log: The log.
        labels: Its outcomes.
        delay_days: Days after which an outcome is known; younger events count for nothing.
    """
    is_known = labels.is_labelled.astype(np.float64)
    is_anomalous = labels.is_anomalous * is_known
    columns: FeatureColumns = {}
    for owner, key in (("item", log.item_idx), ("user", log.user_idx)):
        events = KeyedEvents.by(key, log.occurred_s)
        for window in RISK_WINDOWS:
            span = {"delay_s": delay_days * DAY_S, "window_s": WINDOWS_S[window]}
            n_known = events.sum_until(is_known, **span)
            n_anomalous = events.sum_until(is_anomalous, **span)
            columns[f"{owner}_risk_{window}"] = n_anomalous / np.maximum(n_known, 1)
            if owner == "item":
                columns[f"{owner}_anomalies_{window}"] = np.log1p(n_anomalous)
        if owner == "item":
            columns |= _latest_outcomes(events, is_anomalous, delay_days * DAY_S)
    return _table(columns)


def _latest_outcomes(events: KeyedEvents, is_anomalous: Float64, delay_s: int) -> FeatureColumns:
    """Outcomes of an item's latest labelled events, and days since its oldest recent anomaly."""
    oldest_age_s = events.oldest_age_s(
        is_anomalous > 0, delay_s=delay_s, window_s=_RECENT_DAYS * DAY_S
    )
    return {
        "item_last_outcome": events.latest_mean(is_anomalous, delay_s=delay_s, n_events=1),
        "item_last_outcomes": events.latest_mean(is_anomalous, delay_s=delay_s, n_events=3),
        "item_anomaly_age": oldest_age_s / DAY_S,
    }


def mean_value(log: EventLog) -> float:
    """Mean amount in the first tenth of the log's time; 1 if it has none."""
    first_s, last_s = int(log.occurred_s.min()), int(log.occurred_s.max())
    is_early = log.occurred_s <= first_s + (last_s - first_s) // 10
    early_values = log.value[is_early & np.isfinite(log.value)]
    return float(early_values.mean()) if len(early_values) else 1.0


def _velocity(owner: str, events: KeyedEvents) -> FeatureColumns:
    """Counts in windows, and how far the short ones exceed what the last 30 days promise."""
    counts = {name: events.count_before(window_s) for name, window_s in WINDOWS_S.items()}
    columns: FeatureColumns = {
        f"{owner}_events_{name}": np.log1p(count) for name, count in counts.items()
    }
    daily_rate = (counts["30d"] + 1) / 30
    for name, n_days in (("1d", 1), ("7d", 7)):
        expected = n_days * daily_rate
        columns[f"{owner}_burst_{name}"] = (counts[name] - expected) / np.sqrt(expected + 1)
    return columns


def _time_features(log: EventLog, by_user: KeyedEvents) -> FeatureColumns:
    """Gap to the user's last event, and how unusual the hour is for the user."""
    hours = local_hour(log.occurred_s, log.utc_offset_min)
    hour_bin = (hours * _N_HOUR_BINS / 24).astype(np.int64)
    by_hour = KeyedEvents.by(
        log.user_idx.astype(np.int64) * _N_HOUR_BINS + hour_bin, log.occurred_s
    )
    hour_share = (by_hour.n_before() + 1) / (by_user.n_before() + _N_HOUR_BINS)
    gap_s = by_user.seconds_since_last()
    is_weekend = hour_of_week(log.occurred_s, log.utc_offset_min) >= _FIRST_WEEKEND_HOUR
    return {
        "gap": np.log1p(np.where(np.isnan(gap_s), DAY_S, gap_s)),
        "hour_surprise": -np.log(hour_share),
        "night": (hours < _LAST_NIGHT_HOUR).astype(np.float64),
        "weekend": is_weekend.astype(np.float64),
    }


def _novelty(log: EventLog, by_user: KeyedEvents) -> FeatureColumns:
    """How often the user had the item before, as a number and as a surprise."""
    n_items = int(log.item_idx.max(initial=0)) + 1
    by_pair = KeyedEvents.by(log.user_idx.astype(np.int64) * n_items + log.item_idx, log.occurred_s)
    n_earlier = by_pair.n_before()
    return {
        "item_returns": np.log1p(n_earlier),
        "item_surprise": -np.log((n_earlier + 1) / (by_user.n_before() + 2)),
    }


def _amounts(
    log: EventLog, by_user: KeyedEvents, by_item: KeyedEvents, prior_value: float
) -> FeatureColumns:
    """The amount beside the user's past amounts, and recent amounts of user and item."""
    value = np.nan_to_num(log.value.astype(np.float64), nan=prior_value)
    n_weighted = by_user.n_before() + _PRIOR_EVENTS
    user_mean = (by_user.sum_before(value) + _PRIOR_EVENTS * prior_value) / n_weighted
    squares = (by_user.sum_before(value**2) + 2 * _PRIOR_EVENTS * prior_value**2) / n_weighted
    scale = np.maximum(np.abs(user_mean), 1e-9)
    spread = np.sqrt(np.maximum(squares - user_mean**2, (_MIN_SPREAD * scale) ** 2))
    columns: FeatureColumns = {
        "amount": np.sign(value) * np.log1p(np.abs(value)),
        "amount_deviation": (value - user_mean) / spread,
        "amount_ratio": np.log((np.abs(value) + 1) / (scale + 1)),
    }
    for owner, events, typical in (("user", by_user, scale), ("item", by_item, abs(prior_value))):
        for name in SPEND_WINDOWS:
            total = events.sum_before(value, WINDOWS_S[name]) + _WINDOW_PRIOR * typical
            n_events = events.count_before(WINDOWS_S[name]) + _WINDOW_PRIOR
            columns[f"{owner}_spend_{name}"] = total / n_events / np.maximum(typical, 1e-9)
    return columns


def _travel(log: EventLog, by_user: KeyedEvents, places: ItemPlaces) -> FeatureColumns:
    """Distance from the user's previous event and the speed that it takes; 0 if unknown."""
    lat, lon = places.lat[log.item_idx], places.lon[log.item_idx]
    distance_km = haversine_km(
        lat=by_user.previous(lat), lon=by_user.previous(lon), to_lat=lat, to_lon=lon
    )
    distance_km = np.nan_to_num(distance_km)
    gap_h = np.nan_to_num(by_user.seconds_since_last() / HOUR_S, nan=24.0)
    speed_km_h = distance_km / np.maximum(gap_h, _MIN_TRAVEL_H)
    return {"distance": np.log1p(distance_km), "speed": np.log1p(speed_km_h)}


def _table(columns: FeatureColumns) -> FeatureTable:
    return FeatureTable(tuple(columns), np.stack(list(columns.values()), axis=1).astype(np.float32))
