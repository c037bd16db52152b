"""Features of behaviour: how an event differs from its user's and its item's past.

Every feature of an event reads that event and earlier ones only. Windows are 1 hour, 1 day, 7 days
and 30 days. Columns that a log does not have (amounts, coordinates) leave out their features.
"""

from collections.abc import Collection, Sequence
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
_LATEST: Final = (3, 8)
"""Numbers of a user's latest events that are looked at together."""

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
    event_log: EventLog,
    item_places: ItemPlaces | None = None,
    *,
    typical_value: float | None = None,
    required_names: Collection[str] = (),
) -> FeatureTable:
    """Features of every event of a log, without any label.

    Args:
        event_log: The log; only earlier events count, at one instant those before in its order.
        item_places: Coordinates of the items; None leaves out distance and speed.
        typical_value: Mean amount of the events a detector is trained on, the prior of a user
            without events; by default that of the first tenth of the log's time.
        required_names: Features to compute even if no event of this log has their column.
    """
    by_user = KeyedEvents.by(event_log.user_idx, event_log.occurred_s)
    by_item = KeyedEvents.by(event_log.item_idx, event_log.occurred_s)
    feature_columns = _velocity("user", by_user) | _velocity("item", by_item)
    feature_columns |= _time_features(event_log, by_user) | _novelty(event_log, by_user)
    if np.isfinite(event_log.value).any() or "amount" in required_names:
        prior_value = mean_value(event_log) if typical_value is None else typical_value
        feature_columns |= _amounts(event_log, by_user, by_item, prior_value)
    if item_places is None and "speed" in required_names:
        unknown = np.full(int(event_log.item_idx.max(initial=0)) + 1, np.nan)
        item_places = ItemPlaces(unknown, unknown)
    has_places = item_places is not None and np.isfinite(item_places.lat).any()
    if item_places is not None and (has_places or "speed" in required_names):
        feature_columns |= _travel(event_log, by_user, item_places)
    return _table(feature_columns)


def risk_features(
    event_log: EventLog, event_labels: EventLabels, *, delay_days: int
) -> FeatureTable:
    """Share and number of anomalies of an event's user and item among labels known by then.

    Args:
        event_log: The log.
        event_labels: Its outcomes.
        delay_days: Days after which an outcome is known; younger events count for nothing.
    """
    is_known = event_labels.is_labelled.astype(np.float64)
    is_anomalous = event_labels.is_anomalous * is_known
    feature_columns: FeatureColumns = {}
    for key_owner, key in (("item", event_log.item_idx), ("user", event_log.user_idx)):
        keyed_events = KeyedEvents.by(key, event_log.occurred_s)
        for window_name in RISK_WINDOWS:
            window_span = {"delay_s": delay_days * DAY_S, "window_s": WINDOWS_S[window_name]}
            n_known = keyed_events.sum_until(is_known, **window_span)
            n_anomalous = keyed_events.sum_until(is_anomalous, **window_span)
            feature_columns[f"{key_owner}_risk_{window_name}"] = n_anomalous / np.maximum(
                n_known, 1
            )
            if key_owner == "item":
                feature_columns[f"{key_owner}_anomalies_{window_name}"] = np.log1p(n_anomalous)
        if key_owner == "item":
            feature_columns |= _latest_outcomes(keyed_events, is_anomalous, delay_days * DAY_S)
    return _table(feature_columns)


def _latest_outcomes(
    keyed_events: KeyedEvents, is_anomalous: Float64, delay_s: int
) -> FeatureColumns:
    """Outcomes of an item's latest labelled events, and days since its oldest recent anomaly."""
    oldest_age_s = keyed_events.oldest_age_s(
        is_anomalous > 0, delay_s=delay_s, window_s=_RECENT_DAYS * DAY_S
    )
    return {
        "item_last_outcome": keyed_events.latest_mean(is_anomalous, delay_s=delay_s, n_events=1),
        "item_last_outcomes": keyed_events.latest_mean(is_anomalous, delay_s=delay_s, n_events=3),
        "item_anomaly_age": oldest_age_s / DAY_S,
    }


def mean_value(event_log: EventLog) -> float:
    """Mean amount in the first tenth of the log's time; 1 if it has none."""
    first_s, last_s = int(event_log.occurred_s.min()), int(event_log.occurred_s.max())
    is_early = event_log.occurred_s <= first_s + (last_s - first_s) // 10
    early_values = event_log.value[is_early & np.isfinite(event_log.value)]
    return float(early_values.mean()) if len(early_values) else 1.0


def _velocity(key_owner: str, keyed_events: KeyedEvents) -> FeatureColumns:
    """Counts in windows, and how far the short ones exceed what the last 30 days promise."""
    window_counts = {
        name: keyed_events.count_before(window_s) for name, window_s in WINDOWS_S.items()
    }
    feature_columns: FeatureColumns = {
        f"{key_owner}_events_{name}": np.log1p(window_count)
        for name, window_count in window_counts.items()
    }
    daily_rate = (window_counts["30d"] + 1) / 30
    for name, n_days in (("1d", 1), ("7d", 7)):
        expected_count = n_days * daily_rate
        feature_columns[f"{key_owner}_burst_{name}"] = (
            window_counts[name] - expected_count
        ) / np.sqrt(expected_count + 1)
    return feature_columns


def _time_features(event_log: EventLog, by_user: KeyedEvents) -> FeatureColumns:
    """Gap to the user's last event, and how unusual the hour is for the user."""
    local_hours = local_hour(event_log.occurred_s, event_log.utc_offset_min)
    hour_bin = (local_hours * _N_HOUR_BINS / 24).astype(np.int64)
    by_hour = KeyedEvents.by(
        event_log.user_idx.astype(np.int64) * _N_HOUR_BINS + hour_bin, event_log.occurred_s
    )
    hour_share = (by_hour.n_before() + 1) / (by_user.n_before() + _N_HOUR_BINS)
    gap_s = by_user.seconds_since_last()
    is_weekend = hour_of_week(event_log.occurred_s, event_log.utc_offset_min) >= _FIRST_WEEKEND_HOUR
    return {
        "gap": np.log1p(np.where(np.isnan(gap_s), DAY_S, gap_s)),
        "hour_surprise": -np.log(hour_share),
        "night": (local_hours < _LAST_NIGHT_HOUR).astype(np.float64),
        "weekend": is_weekend.astype(np.float64),
    }


def _novelty(event_log: EventLog, by_user: KeyedEvents) -> FeatureColumns:
    """How often the user had the item before, as a number and as a surprise."""
    n_items = int(event_log.item_idx.max(initial=0)) + 1
    by_pair = KeyedEvents.by(
        event_log.user_idx.astype(np.int64) * n_items + event_log.item_idx, event_log.occurred_s
    )
    n_earlier = by_pair.n_before()
    return {
        "item_returns": np.log1p(n_earlier),
        "item_surprise": -np.log((n_earlier + 1) / (by_user.n_before() + 2)),
    }


def _amounts(
    event_log: EventLog, by_user: KeyedEvents, by_item: KeyedEvents, prior_value: float
) -> FeatureColumns:
    """The amount beside the user's past amounts, and recent amounts of user and item."""
    event_value = np.nan_to_num(event_log.value.astype(np.float64), nan=prior_value)
    n_weighted = by_user.n_before() + _PRIOR_EVENTS
    user_mean = (by_user.sum_before(event_value) + _PRIOR_EVENTS * prior_value) / n_weighted
    mean_squares = (
        by_user.sum_before(event_value**2) + 2 * _PRIOR_EVENTS * prior_value**2
    ) / n_weighted
    user_scale = np.maximum(np.abs(user_mean), 1e-9)
    user_spread = np.sqrt(np.maximum(mean_squares - user_mean**2, (_MIN_SPREAD * user_scale) ** 2))
    feature_columns: FeatureColumns = {
        "amount": np.sign(event_value) * np.log1p(np.abs(event_value)),
        "amount_deviation": (event_value - user_mean) / user_spread,
        "amount_ratio": np.log((np.abs(event_value) + 1) / (user_scale + 1)),
    }
    for key_owner, keyed_events, typical in (
        ("user", by_user, user_scale),
        ("item", by_item, abs(prior_value)),
    ):
        for name in SPEND_WINDOWS:
            window_total = (
                keyed_events.sum_before(event_value, WINDOWS_S[name]) + _WINDOW_PRIOR * typical
            )
            n_events = keyed_events.count_before(WINDOWS_S[name]) + _WINDOW_PRIOR
            feature_columns[f"{key_owner}_spend_{name}"] = (
                window_total / n_events / np.maximum(typical, 1e-9)
            )
    return feature_columns


def _travel(event_log: EventLog, by_user: KeyedEvents, item_places: ItemPlaces) -> FeatureColumns:
    """Distance from the user's previous event, its speed, and how foreign the latest places are.

    Unknown distances are 0. A stolen account shows in a run of places that are far from the mean of
    the user's places, or new to the user: their means over the latest events are features.
    """
    item_lat, item_lon = item_places.lat[event_log.item_idx], item_places.lon[event_log.item_idx]
    distance_km = haversine_km(
        lat=by_user.previous(item_lat),
        lon=by_user.previous(item_lon),
        to_lat=item_lat,
        to_lon=item_lon,
    )
    distance_km = np.nan_to_num(distance_km)
    gap_h = np.nan_to_num(by_user.seconds_since_last() / HOUR_S, nan=24.0)
    speed_km_h = distance_km / np.maximum(gap_h, _MIN_TRAVEL_H)
    away_km = np.log1p(_distance_from_centre(by_user, item_lat, item_lon))
    n_items = int(event_log.item_idx.max(initial=0)) + 1
    pair_key = event_log.user_idx.astype(np.int64) * n_items + event_log.item_idx
    n_visits = KeyedEvents.by(pair_key, event_log.occurred_s).n_before()
    visit_surprise = -np.log((n_visits + 1) / (by_user.n_before() + 2))
    return {
        "distance": np.log1p(distance_km),
        "speed": np.log1p(speed_km_h),
        "distance_from_centre": away_km,
        **{
            f"{name}_of_latest_{n_latest}": by_user.latest_mean(
                values, delay_s=0, n_events=n_latest
            )
            for name, values in (("distance", away_km), ("surprise", visit_surprise))
            for n_latest in _LATEST
        },
    }


def _distance_from_centre(by_user: KeyedEvents, item_lat: Float64, item_lon: Float64) -> Float64:
    """Kilometres from the mean of the user's earlier places; 0 if unknown, shape (n_events,)."""
    is_located = np.isfinite(item_lat) & np.isfinite(item_lon)
    n_located = by_user.sum_before(is_located.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        centre_lat, centre_lon = (
            by_user.sum_before(np.where(is_located, coordinate, 0.0)) / n_located
            for coordinate in (item_lat, item_lon)
        )
    return np.nan_to_num(
        haversine_km(lat=centre_lat, lon=centre_lon, to_lat=item_lat, to_lon=item_lon)
    )


def _table(feature_columns: FeatureColumns) -> FeatureTable:
    return FeatureTable(
        tuple(feature_columns), np.stack(list(feature_columns.values()), axis=1).astype(np.float32)
    )
