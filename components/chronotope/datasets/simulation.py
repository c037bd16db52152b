"""Simulation of the event log of a city; ``city`` describes the model."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Float64, Int32, Int64
from chronotope.contracts.schemas import INSTANT
from chronotope.datasets.city import (
    ANOMALY_KIND,
    IS_ANOMALY,
    N_SLOTS,
    OPENING,
    City,
    CityConfig,
    build_city,
    item_ids,
)
from chronotope.datasets.city_anomalies.plant import (
    plant_extra_events,
    popular_places,
    taken_over,
)
from chronotope.datasets.city_anomalies.rates import AnomalyKind
from chronotope.datasets.city_anomalies.walks import Walks
from chronotope.spacetime.clock import hour_of_week

_DAY_S: Final = 86_400
_BLOCK_EVENTS: Final = 500_000
MISPLACED_GAP_S: Final = 30
HOURLY_ACTIVITY: Final = np.array(
    [2, 1, 1, 1, 1, 2, 4, 7, 9, 8, 7, 8, 10, 9, 7, 7, 8, 10, 11, 10, 9, 7, 5, 3]
)
DAILY_ACTIVITY: Final = np.array([1.0, 1.0, 1.0, 1.1, 1.3, 1.5, 1.2])  # Monday first


def simulate_events(city_config: CityConfig, *, batch_events: int = 200_000) -> Iterator[pa.Table]:
    """Generate the event log of a city in batches, one block of users after another.

    Args:
        city_config: The city.
        batch_events: Maximum number of rows of a batch; the log does not depend on it.

    Yields:
        Tables for ``normalise``, with contract column names and ``is_anomaly`` (boolean), and
        ``anomaly_kind`` (text) if anomalies are planted; ``city_config.n_events`` rows in total,
        and the planted ones.
    """
    city = build_city(city_config)
    for walks in simulate_walks(city_config, city):
        block_rows = _as_table(city_config, city, walks)
        yield from (
            block_rows.slice(start_row, batch_events)
            for start_row in range(0, block_rows.num_rows, batch_events)
        )


def simulate_walks(city_config: CityConfig, city: City) -> Iterator[Walks]:
    """Generate the events of all users in blocks of about ``_BLOCK_EVENTS`` events."""
    user_lengths, is_late = _user_activity(city_config)
    block_numbers = (np.cumsum(user_lengths) - 1) // _BLOCK_EVENTS
    block_edges = np.concatenate(
        [[0], np.flatnonzero(np.diff(block_numbers)) + 1, [len(user_lengths)]]
    )
    for block_idx, (first_user, end_user) in enumerate(
        zip(block_edges[:-1].tolist(), block_edges[1:].tolist(), strict=True)
    ):
        random_generator = np.random.default_rng([city_config.seed, 2, block_idx])
        anomaly_rng = np.random.default_rng([city_config.seed, 3, block_idx])
        block_lengths = user_lengths[first_user:end_user]
        is_takeover = taken_over(city_config.planted.takeover, block_lengths, anomaly_rng)
        block_walks = _simulate_block(
            city_config,
            city,
            random_generator,
            first_user,
            block_lengths,
            is_late[first_user:end_user],
            is_takeover,
        )
        if not city_config.planted.is_zero:
            block_walks = _with_strangers(city_config, city, block_walks, anomaly_rng)
            block_walks = plant_extra_events(
                city_config, city, block_walks, period_s(city_config)[0], anomaly_rng
            )
        yield block_walks


def _with_strangers(
    city_config: CityConfig, city: City, walks: Walks, rng: np.random.Generator
) -> Walks:
    """The events of a block with the places that strangers chose on stolen accounts."""
    stranger_items = popular_places(city, walks.occurred_s >= period_s(city_config)[1], rng)
    is_takeover = walks.kind == AnomalyKind.TAKEOVER
    return replace(walks, item=np.where(is_takeover, stranger_items, walks.item))


def period_s(city_config: CityConfig) -> tuple[int, int]:
    """Start of the period, and the time at which cold-start places open, UTC seconds."""
    local_midnight = datetime.combine(city_config.start, time(), tzinfo=UTC)
    start_s = int(local_midnight.timestamp()) - city_config.utc_offset_min * 60
    return start_s, start_s + int(OPENING * city_config.days) * _DAY_S


def _user_activity(city_config: CityConfig) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Number of events of each user, ``n_events`` in total, and the mask of cold-start users."""
    random_generator = np.random.default_rng([city_config.seed, 1])
    is_late = random_generator.random(city_config.n_users) < city_config.cold_users
    activity_weights = random_generator.lognormal(0.0, 0.6, city_config.n_users) * np.where(
        is_late, 0.03, 1.0
    )
    cumulative_events = np.round(
        np.cumsum(activity_weights) / activity_weights.sum() * city_config.n_events
    ).astype(np.int64)
    return np.diff(cumulative_events, prepend=0), is_late


def _simulate_block(
    city_config: CityConfig,
    city: City,
    rng: np.random.Generator,
    first_user: int,
    user_lengths: Int64,
    is_late: npt.NDArray[np.bool_],
    is_takeover: npt.NDArray[np.bool_],
) -> Walks:
    n_users, n_events = len(user_lengths), int(user_lengths.sum())
    warm_items = np.flatnonzero(~city.cold).astype(np.int32)
    home_items, work_items = rng.choice(warm_items, n_users), rng.choice(warm_items, n_users)
    occurred_s = _event_times(city_config, rng, user_lengths, is_late)
    user_starts = np.cumsum(user_lengths) - user_lengths
    is_anomaly = rng.random(n_events) < city_config.anomalies
    is_anomaly[user_starts[user_lengths > 0]] = False
    is_anomaly &= ~is_takeover
    # What a stranger does is not the past of the user.
    is_foreign = is_anomaly | is_takeover
    item_idx = _visited_places(
        city_config, city, rng, user_lengths, home_items, work_items, occurred_s, is_foreign
    )
    event_kinds = np.where(
        is_takeover, AnomalyKind.TAKEOVER, np.where(is_anomaly, AnomalyKind.MISPLACED, 0)
    ).astype(np.int32)
    event_position = np.arange(n_events)
    regular_position = np.maximum.accumulate(np.where(is_anomaly, 0, event_position))
    occurred_s = (
        occurred_s[regular_position] + (event_position - regular_position) * MISPLACED_GAP_S
    )
    user_idx = np.repeat(np.arange(n_users), user_lengths)
    order = np.lexsort((occurred_s, user_idx))
    return Walks(
        first_user,
        user_lengths,
        home_items,
        work_items,
        occurred_s[order],
        item_idx[order],
        event_kinds[order],
    )


def _event_times(
    city_config: CityConfig,
    rng: np.random.Generator,
    user_lengths: Int64,
    is_late: npt.NDArray[np.bool_],
) -> Int64:
    """Draw event times from the daily and hourly activity, ascending within each user.

    Returns:
        UTC seconds, shape (n_events,).
    """
    user_idx = np.repeat(np.arange(len(user_lengths)), user_lengths)
    n_events = len(user_idx)
    week_days = (city_config.start.weekday() + np.arange(city_config.days)) % 7
    cumulative_activity = np.cumsum(DAILY_ACTIVITY[week_days])
    opening_day = int(OPENING * city_config.days)
    earliest_share = np.where(
        is_late[user_idx], cumulative_activity[opening_day - 1] / cumulative_activity[-1], 0.0
    )
    uniform_draws = earliest_share + (1 - earliest_share) * rng.random(n_events)
    day_idx = np.searchsorted(
        cumulative_activity / cumulative_activity[-1], uniform_draws, side="right"
    ).clip(max=city_config.days - 1)
    hour_idx = np.searchsorted(
        np.cumsum(HOURLY_ACTIVITY) / HOURLY_ACTIVITY.sum(), rng.random(n_events), side="right"
    )
    local_s = day_idx * _DAY_S + hour_idx.clip(max=23) * 3600 + rng.integers(3600, size=n_events)
    event_times_s = np.asarray(period_s(city_config)[0] + local_s, dtype=np.int64)
    return _spread_ties(user_idx, np.take(event_times_s, np.lexsort((event_times_s, user_idx))))


def _spread_ties(user_idx: Int64, event_times_s: Int64) -> Int64:
    """Shift a user's simultaneous events by one second each; the order stays ascending."""
    event_position = np.arange(len(user_idx))
    user_offsets = user_idx * (1 << 40)  # longer than any period: users stay separate
    running_max = np.maximum.accumulate(event_times_s + user_offsets - event_position)
    return np.asarray(running_max - user_offsets + event_position, dtype=np.int64)


def _visited_places(
    city_config: CityConfig,
    city: City,
    rng: np.random.Generator,
    user_lengths: Int64,
    home_items: Int32,
    work_items: Int32,
    occurred_s: Int64,
    is_anomaly: npt.NDArray[np.bool_],
) -> Int32:
    """Draw the place of each event from the model, vectorised over users.

    Returns:
        Place indices, shape (n_events,).
    """
    item_idx = np.empty(len(occurred_s), dtype=np.int32)
    past_items = np.empty_like(item_idx)  # places of past regular events, packed by user
    user_starts = np.cumsum(user_lengths) - user_lengths
    n_past, last_items = np.zeros_like(user_lengths), home_items.copy()
    is_opened = (occurred_s >= period_s(city_config)[1]).astype(np.int64)
    utc_offsets = np.full(len(occurred_s), city_config.utc_offset_min, dtype=np.int32)
    week_hours = hour_of_week(occurred_s, utc_offsets)
    for event_position in range(int(user_lengths.max(initial=0))):
        user_idx = np.flatnonzero(user_lengths > event_position)
        event_idx = user_starts[user_idx] + event_position
        uniform_draws = rng.random((4, len(user_idx)))
        p_new = explore_probability(city_config, n_past[user_idx])
        returned_items = past_items[
            user_starts[user_idx] + (uniform_draws[2] * n_past[user_idx]).astype(np.int64)
        ]
        slot_idx = (uniform_draws[2] * N_SLOTS).astype(np.int64)
        explored_items = city.slots[is_opened[event_idx], last_items[user_idx], slot_idx]
        free_items = np.where(uniform_draws[1] < p_new, explored_items, returned_items)
        home_p, work_p = city.go_home[week_hours[event_idx]], city.go_work[week_hours[event_idx]]
        regular_items = np.where(uniform_draws[0] < home_p, home_items[user_idx], free_items)
        regular_items = np.where(
            (uniform_draws[0] >= home_p) & (uniform_draws[0] < home_p + work_p),
            work_items[user_idx],
            regular_items,
        )
        is_random = is_anomaly[event_idx]
        random_items = (uniform_draws[3] * city_config.n_items).astype(np.int32)
        item_idx[event_idx] = np.where(is_random, random_items, regular_items)
        regular_users, visited_items = user_idx[~is_random], regular_items[~is_random]
        past_items[user_starts[regular_users] + n_past[regular_users]] = visited_items
        last_items[regular_users] = visited_items
        n_past[regular_users] += 1
    return item_idx


def explore_probability(city_config: CityConfig, n_past: Int64) -> Float64:
    """Probability of exploration, ``p_new = rho (1 + n)^-gamma``, or 1 without past events.

    Args:
        city_config: Parameters rho and gamma.
        n_past: Number of past events n of each user, shape (n_users,).
    """
    explore_share = city_config.rho * (1.0 + n_past) ** -city_config.gamma
    return np.where(n_past == 0, 1.0, explore_share)


def _as_table(city_config: CityConfig, city: City, walks: Walks) -> pa.Table:
    time_order = np.argsort(walks.occurred_s, kind="stable")
    user_idx = np.repeat(np.arange(len(walks.length)), walks.length)[time_order]
    item_idx = walks.item[time_order]
    user_ids = pa.array(
        [f"u{walks.first_user + user_number:07d}" for user_number in range(len(walks.length))]
    )
    times_us = pa.array(walks.occurred_s[time_order] * 1_000_000)
    block_rows = pa.table(
        {
            c.USER_ID: user_ids.take(pa.array(user_idx)),
            c.ITEM_ID: item_ids(city_config).take(pa.array(item_idx)),
            c.OCCURRED_AT: times_us.cast(INSTANT),
            c.UTC_OFFSET_MIN: pa.array(
                np.full(len(item_idx), city_config.utc_offset_min, np.int32)
            ),
            c.LAT: pa.array(city.lat[item_idx]),
            c.LON: pa.array(city.lon[item_idx]),
            IS_ANOMALY: pa.array(walks.anomaly[time_order]),
        }
    )
    if city_config.planted.is_zero:
        return block_rows
    kind_labels = pa.array([kind.label for kind in AnomalyKind])
    return block_rows.append_column(
        ANOMALY_KIND, kind_labels.take(pa.array(walks.kind[time_order]))
    )
