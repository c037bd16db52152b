"""Let people live in a city and write down where they go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Float64, Int32, Int64
from chronotope.contracts.schemas import INSTANT
from chronotope.datasets.city import (
    IS_ANOMALY,
    N_SLOTS,
    OPENING,
    City,
    CityConfig,
    build_city,
    item_ids,
)
from chronotope.spacetime.clock import hour_of_week

_DAY_S: Final = 86_400
_BLOCK_EVENTS: Final = 500_000
_ANOMALY_GAP_S: Final = 30
_HOURLY: Final = np.array(
    [2, 1, 1, 1, 1, 2, 4, 7, 9, 8, 7, 8, 10, 9, 7, 7, 8, 10, 11, 10, 9, 7, 5, 3]
)
_DAILY: Final = np.array([1.0, 1.0, 1.0, 1.1, 1.3, 1.5, 1.2])  # Monday first


@dataclass(frozen=True, slots=True)
class Walks:
    """Events of a block of people, ordered by person and time, shape (n_events,) each.

    Attributes:
        first_user: Index of the block's first person.
        length: Events of each person, shape (n_users,).
        home, work: Their places, shape (n_users,).
        occurred_s: UTC seconds.
        item: Where they went.
        anomaly: Whether the event breaks the law on purpose.
    """

    first_user: int
    length: Int64
    home: Int32
    work: Int32
    occurred_s: Int64
    item: Int32
    anomaly: npt.NDArray[np.bool_]


def simulate_events(config: CityConfig, *, batch_events: int = 200_000) -> Iterator[pa.Table]:
    """Stream the log of a city: people block by block, in bounded memory.

    Args:
        config: The city; the log does not depend on ``batch_events``.
        batch_events: Most rows of a table.

    Yields:
        Columns under contract names, with ``is_anomaly`` (boolean), ready for
        ``normalise``; exactly ``config.n_events`` rows in all.
    """
    city = build_city(config)
    for walks in simulate_walks(config, city):
        table = _as_table(config, city, walks)
        yield from (table.slice(at, batch_events) for at in range(0, table.num_rows, batch_events))


def simulate_walks(config: CityConfig, city: City) -> Iterator[Walks]:
    """Blocks of people of about half a million events each."""
    length, late = _activity(config)
    block = (np.cumsum(length) - 1) // _BLOCK_EVENTS
    edges = np.concatenate([[0], np.flatnonzero(np.diff(block)) + 1, [len(length)]])
    for number, (first, end) in enumerate(
        zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ):
        rng = np.random.default_rng([config.seed, 2, number])
        yield _walk(config, city, rng, first, length[first:end], late[first:end])


def period_s(config: CityConfig) -> tuple[int, int]:
    """First UTC second of the period, and the second the cold places open."""
    midnight = datetime.combine(config.start, time(), tzinfo=UTC)
    start = int(midnight.timestamp()) - config.utc_offset_min * 60
    return start, start + int(OPENING * config.days) * _DAY_S


def _activity(config: CityConfig) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Events of each person, adding up to n_events, and who comes late."""
    rng = np.random.default_rng([config.seed, 1])
    late = rng.random(config.n_users) < config.cold_users
    weight = rng.lognormal(0.0, 0.6, config.n_users) * np.where(late, 0.03, 1.0)
    reached = np.round(np.cumsum(weight) / weight.sum() * config.n_events).astype(np.int64)
    return np.diff(reached, prepend=0), late


def _walk(
    config: CityConfig,
    city: City,
    rng: np.random.Generator,
    first_user: int,
    length: Int64,
    late: npt.NDArray[np.bool_],
) -> Walks:
    n_users, n_events = len(length), int(length.sum())
    warm = np.flatnonzero(~city.cold).astype(np.int32)
    home, work = rng.choice(warm, n_users), rng.choice(warm, n_users)
    occurred_s = _moments(config, rng, length, late)
    start = np.cumsum(length) - length
    anomaly = rng.random(n_events) < config.anomalies
    anomaly[start[length > 0]] = False
    item = _choices(config, city, rng, length, home, work, occurred_s, anomaly)
    position = np.arange(n_events)
    lawful = np.maximum.accumulate(np.where(anomaly, 0, position))
    occurred_s = occurred_s[lawful] + (position - lawful) * _ANOMALY_GAP_S
    user = np.repeat(np.arange(n_users), length)
    order = np.lexsort((occurred_s, user))
    return Walks(first_user, length, home, work, occurred_s[order], item[order], anomaly[order])


def _moments(
    config: CityConfig, rng: np.random.Generator, length: Int64, late: npt.NDArray[np.bool_]
) -> Int64:
    """UTC seconds by the daily and weekly rhythm, ascending within each person."""
    user = np.repeat(np.arange(len(length)), length)
    n = len(user)
    weekday = (config.start.weekday() + np.arange(config.days)) % 7
    busy = np.cumsum(_DAILY[weekday])
    opening = int(OPENING * config.days)
    floor = np.where(late[user], busy[opening - 1] / busy[-1], 0.0)
    u = floor + (1 - floor) * rng.random(n)
    day = np.searchsorted(busy / busy[-1], u, side="right").clip(max=config.days - 1)
    hour = np.searchsorted(np.cumsum(_HOURLY) / _HOURLY.sum(), rng.random(n), side="right")
    local_s = day * _DAY_S + hour.clip(max=23) * 3600 + rng.integers(3600, size=n)
    moments = np.asarray(period_s(config)[0] + local_s, dtype=np.int64)
    return _spread_ties(user, np.take(moments, np.lexsort((moments, user))))


def _spread_ties(user: Int64, moments: Int64) -> Int64:
    """Move a person's simultaneous events apart by a second; ascending in, ascending out."""
    position = np.arange(len(user))
    apart = user * (1 << 40)  # more seconds than any period, so that people do not mix
    running = np.maximum.accumulate(moments + apart - position)
    return np.asarray(running - apart + position, dtype=np.int64)


def _choices(
    config: CityConfig,
    city: City,
    rng: np.random.Generator,
    length: Int64,
    home: Int32,
    work: Int32,
    occurred_s: Int64,
    anomaly: npt.NDArray[np.bool_],
) -> Int32:
    """Places by the law, the k-th event of all people at once, shape (n_events,)."""
    item = np.empty(len(occurred_s), dtype=np.int32)
    visits = np.empty_like(item)  # past lawful events of each person, packed from start
    start = np.cumsum(length) - length
    n_past, last = np.zeros_like(length), home.copy()
    opened = (occurred_s >= period_s(config)[1]).astype(np.int64)
    offset = np.full(len(occurred_s), config.utc_offset_min, dtype=np.int32)
    week = hour_of_week(occurred_s, offset)
    for k in range(int(length.max(initial=0))):
        who = np.flatnonzero(length > k)
        at = start[who] + k
        u = rng.random((4, len(who)))
        p_new = explore_probability(config, n_past[who])
        past = visits[start[who] + (u[2] * n_past[who]).astype(np.int64)]
        slot = (u[2] * N_SLOTS).astype(np.int64)
        explored = city.slots[opened[at], last[who], slot]
        free = np.where(u[1] < p_new, explored, past)
        home_p, work_p = city.go_home[week[at]], city.go_work[week[at]]
        lawful = np.where(u[0] < home_p, home[who], free)
        lawful = np.where((u[0] >= home_p) & (u[0] < home_p + work_p), work[who], lawful)
        odd = anomaly[at]
        item[at] = np.where(odd, (u[3] * config.n_items).astype(np.int32), lawful)
        stay, place = who[~odd], lawful[~odd]
        visits[start[stay] + n_past[stay]] = place
        last[stay] = place
        n_past[stay] += 1
    return item


def explore_probability(config: CityConfig, n_past: Int64) -> Float64:
    """p_new = rho (1 + n)^-gamma, and 1 while there is no past."""
    urge = config.rho * (1.0 + n_past) ** -config.gamma
    return np.where(n_past == 0, 1.0, urge)


def _as_table(config: CityConfig, city: City, walks: Walks) -> pa.Table:
    order = np.argsort(walks.occurred_s, kind="stable")
    user = np.repeat(np.arange(len(walks.length)), walks.length)[order]
    item = walks.item[order]
    names = pa.array([f"u{walks.first_user + i:07d}" for i in range(len(walks.length))])
    micros = pa.array(walks.occurred_s[order] * 1_000_000)
    return pa.table(
        {
            c.USER_ID: names.take(pa.array(user)),
            c.ITEM_ID: item_ids(config).take(pa.array(item)),
            c.OCCURRED_AT: micros.cast(INSTANT),
            c.UTC_OFFSET_MIN: pa.array(np.full(len(item), config.utc_offset_min, np.int32)),
            c.LAT: pa.array(city.lat[item]),
            c.LON: pa.array(city.lon[item]),
            IS_ANOMALY: pa.array(walks.anomaly[order]),
        }
    )
