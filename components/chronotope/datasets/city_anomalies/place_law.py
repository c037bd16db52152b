"""Law of the next place and of the next moment of a user, as the simulator draws them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.datasets.city import City, CityConfig
from chronotope.datasets.city_anomalies.walks import Walks
from chronotope.datasets.simulation import (
    DAILY_ACTIVITY,
    HOURLY_ACTIVITY,
    explore_probability,
    period_s,
)
from chronotope.spacetime.clock import hour_of_week

_CHUNK: Final = 100_000
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class EventLaw:
    """Densities of each event under the law of its user.

    Attributes:
        place: Probability of the place, given the user's own past, home, work and the hour.
        rate: Density of the moment: events of the user a second.
        log_survival: Log of the probability of no event since the user's last one.
        gap_s: Seconds since the user's last event; infinite for the first.
    """

    place: Float64
    rate: Float64
    log_survival: Float64
    gap_s: Float64


@dataclass(frozen=True, slots=True)
class _ActivityDensity:
    """Density of the moments of a user's events, 1/s, and its integral; shape (n,) each."""

    per_s: Float64
    cumulative: Float64


def event_law(
    city_config: CityConfig, city: City, block_walks: Walks, *, knows_tables: bool
) -> EventLaw:
    """Densities of all events of a block; the past is what the user did, without anomalies.

    Args:
        city_config: The city.
        city: Its places and tables.
        block_walks: Events of a block of users.
        knows_tables: Whether explored places have the probabilities of the exploration tables,
            or of popular places.
    """
    user, is_own = block_walks.user, ~block_walks.anomaly
    user_starts = np.repeat(np.cumsum(block_walks.length) - block_walks.length, block_walks.length)
    n_own: Int64 = np.cumsum(is_own) - is_own
    n_past: Int64 = n_own - n_own[user_starts] if len(user) else n_own
    n_regular = np.bincount(user[is_own], minlength=len(block_walks.length))
    density = _activity_density(city_config, block_walks.occurred_s)
    gap_s = np.diff(block_walks.occurred_s, prepend=0).astype(np.float64)
    mass = np.diff(density.cumulative, prepend=0.0)
    is_first = np.arange(len(user)) == user_starts
    gap_s[is_first], mass[is_first] = np.inf, density.cumulative[is_first]
    explored_p = (
        _table_share(city_config, city, block_walks)
        if knows_tables
        else popular_share(city_config, city, block_walks)
    )
    return EventLaw(
        place=_place_probability(city_config, city, block_walks, n_past, explored_p),
        rate=n_regular[user] * density.per_s,
        log_survival=-n_regular[user] * mass,
        gap_s=gap_s,
    )


def _activity_density(city_config: CityConfig, occurred_s: Int64) -> _ActivityDensity:
    """Daily and hourly activity at each moment; 0 after the period."""
    hours = HOURLY_ACTIVITY / HOURLY_ACTIVITY.sum()
    week_days = (city_config.start.weekday() + np.arange(city_config.days)) % 7
    days = DAILY_ACTIVITY[week_days] / DAILY_ACTIVITY[week_days].sum()
    hourly = np.outer(days, hours).ravel()  # (24 * days,)
    cumulative = np.concatenate([[0.0], np.cumsum(hourly)])
    elapsed_s = np.clip(occurred_s - period_s(city_config)[0], 0, city_config.days * _DAY_S - 1)
    hour_idx, within_s = np.divmod(elapsed_s, 3_600)
    per_s = hourly[hour_idx] / 3_600
    return _ActivityDensity(per_s, cumulative[hour_idx] + within_s * per_s)


def _place_probability(
    city_config: CityConfig, city: City, block_walks: Walks, n_past: Int64, explored_p: Float64
) -> Float64:
    """Probability of each place under the law of ``city``, shape (n_events,)."""
    user, is_own = block_walks.user, ~block_walks.anomaly
    utc_offsets = np.full(len(user), city_config.utc_offset_min, np.int32)
    week_hours = hour_of_week(block_walks.occurred_s, utc_offsets)
    home_p, work_p = city.go_home[week_hours], city.go_work[week_hours]
    p_new = explore_probability(city_config, n_past)
    n_before = _times_before(user * city_config.n_items + block_walks.item, is_own)
    free_p = p_new * explored_p + (1 - p_new) * n_before / np.maximum(n_past, 1)
    probability: Float64 = (
        home_p * (block_walks.item == block_walks.home[user])
        + work_p * (block_walks.item == block_walks.work[user])
        + (1 - home_p - work_p) * free_p
    )
    return probability


def _table_share(city_config: CityConfig, city: City, block_walks: Walks) -> Float64:
    """Share of each place in the exploration table of the user's last place, shape (n_events,)."""
    last_items = _last_own_items(block_walks)
    is_opened = (block_walks.occurred_s >= period_s(city_config)[1]).astype(np.int64)
    share = np.empty(len(last_items))
    for start in range(0, len(share), _CHUNK):
        event_rows = slice(start, start + _CHUNK)
        is_entry = (
            city.slots[is_opened[event_rows], last_items[event_rows]]
            == block_walks.item[event_rows, None]
        )
        share[event_rows] = is_entry.mean(axis=1)  # over the N_SLOTS entries
    return share


def popular_share(city_config: CityConfig, city: City, block_walks: Walks) -> Float64:
    """Probability of each place under what a stranger chooses, shape (n_events,)."""
    shares = np.stack(
        [
            np.bincount(slots.ravel(), minlength=city_config.n_items) / slots.size
            for slots in city.slots
        ]
    )
    is_opened = (block_walks.occurred_s >= period_s(city_config)[1]).astype(np.int64)
    return np.asarray(shares[is_opened, block_walks.item])


def _last_own_items(block_walks: Walks) -> npt.NDArray[np.int32]:
    """Place of the user's last own event before each event; home before the first."""
    position = np.arange(len(block_walks.item))
    own_position = np.maximum.accumulate(np.where(block_walks.anomaly, -1, position))
    before = np.concatenate([[-1], own_position[:-1]])
    user_starts = np.repeat(np.cumsum(block_walks.length) - block_walks.length, block_walks.length)
    return np.where(
        before >= user_starts, block_walks.item[before], block_walks.home[block_walks.user]
    )


def _times_before(keys: Int64, is_counted: npt.NDArray[np.bool_]) -> Int64:
    """Number of counted earlier elements with the same key, shape (n,)."""
    time_order = np.argsort(keys, kind="stable")
    counted = is_counted[time_order].astype(np.int64)
    n_before = np.cumsum(counted) - counted
    is_start = np.ones(len(keys), np.bool_)
    is_start[1:] = np.diff(keys[time_order]) != 0
    start_positions = np.maximum.accumulate(np.where(is_start, np.arange(len(keys)), 0))
    result = np.empty(len(keys), np.int64)
    result[time_order] = n_before - n_before[start_positions]
    return result
