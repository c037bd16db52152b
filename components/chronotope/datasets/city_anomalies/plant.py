"""Planting of anomalies in the events of a block of users; ``rates`` describes the kinds."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Int32, Int64
from chronotope.datasets.city import City, CityConfig
from chronotope.datasets.city_anomalies.rates import (
    BOT_EVENTS,
    BOT_GAP_S,
    BOT_GAP_SD_S,
    FLOOD_EVENTS,
    FLOOD_S,
    MIN_PAST,
    TAKEOVER_EVENTS,
    TELEPORT_GAP_S,
    TELEPORT_KM,
    AnomalyKind,
)
from chronotope.datasets.city_anomalies.walks import Walks
from chronotope.spacetime.distances import haversine_km

_N_TRIES = 64


@dataclass(frozen=True, slots=True)
class _ExtraEvents:
    """Events that are added to a block, shape (n,) each."""

    user: Int64
    occurred_s: Int64
    item: Int32
    kind: AnomalyKind


def taken_over(rate: float, user_lengths: Int64, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Mask of the events that a stranger makes, in runs of geometric length.

    Args:
        rate: Expected share of the events.
        user_lengths: Number of events of each user, shape (n_users,).
        rng: Source of the draws.
    """
    n_events = int(user_lengths.sum())
    if rate == 0:
        return np.zeros(n_events, np.bool_)
    user_ends = np.repeat(np.cumsum(user_lengths), user_lengths)
    event_position = np.arange(n_events) - np.repeat(
        np.cumsum(user_lengths) - user_lengths, user_lengths
    )
    is_start = rng.random(n_events) < rate / TAKEOVER_EVENTS
    run_starts = np.flatnonzero(is_start & (event_position >= MIN_PAST))
    run_ends = np.minimum(
        run_starts + rng.geometric(1 / TAKEOVER_EVENTS, len(run_starts)), user_ends[run_starts]
    )
    n_open = np.zeros(n_events + 1, np.int64)
    np.add.at(n_open, run_starts, 1)
    np.add.at(n_open, run_ends, -1)
    return np.asarray(np.cumsum(n_open)[:-1] > 0)


def popular_places(city: City, is_opened: npt.NDArray[np.bool_], rng: np.random.Generator) -> Int32:
    """Places as an explorer anywhere in the city would choose them.

    Args:
        city: The city.
        is_opened: Whether the cold-start places have opened, shape (n,).
        rng: Source of the draws.
    """
    n_items, n_slots = city.slots.shape[1:]
    from_items, slot_idx = rng.integers((n_items, n_slots), size=(len(is_opened), 2)).T
    places: Int32 = city.slots[is_opened.astype(np.int64), from_items, slot_idx]
    return places


def plant_extra_events(
    city_config: CityConfig,
    city: City,
    block_walks: Walks,
    period_start_s: int,
    rng: np.random.Generator,
) -> Walks:
    """The events of a block with those of bots, floods and teleports added.

    Args:
        city_config: Rates of the anomalies.
        city: The city.
        block_walks: Events of the block.
        period_start_s: Start of the log, UTC seconds.
        rng: Source of the draws.
    """
    extra_events = [
        _bot_runs(city_config, block_walks, rng),
        _floods(city_config, block_walks, period_start_s, rng),
        _teleports(city_config, city, block_walks, rng),
    ]
    user = np.concatenate([block_walks.user, *(extra_batch.user for extra_batch in extra_events)])
    occurred_s = np.concatenate(
        [block_walks.occurred_s, *(extra_batch.occurred_s for extra_batch in extra_events)]
    )
    item = np.concatenate([block_walks.item, *(extra_batch.item for extra_batch in extra_events)])
    kind = np.concatenate(
        [
            block_walks.kind,
            *(np.full(len(extra_batch.user), extra_batch.kind) for extra_batch in extra_events),
        ]
    ).astype(np.int32)
    time_order = np.lexsort((kind, occurred_s, user))
    user, occurred_s, item, kind = (
        user[time_order],
        occurred_s[time_order],
        item[time_order],
        kind[time_order],
    )
    # One event a user and second: else two rows could be one event to a lake.
    is_first = np.ones(len(user), np.bool_)
    is_first[1:] = (np.diff(user) != 0) | (np.diff(occurred_s) != 0) | (kind[1:] == 0)
    return replace(
        block_walks,
        length=np.bincount(user[is_first], minlength=len(block_walks.length)).astype(np.int64),
        occurred_s=occurred_s[is_first],
        item=item[is_first],
        kind=kind[is_first],
    )


def _anchors(block_walks: Walks, mean_number: float, rng: np.random.Generator) -> Int64:
    """Positions of regular events after which something is planted."""
    user_starts = np.repeat(np.cumsum(block_walks.length) - block_walks.length, block_walks.length)
    is_anchor = (np.arange(len(block_walks.item)) - user_starts >= MIN_PAST) & (
        block_walks.kind == 0
    )
    positions = np.flatnonzero(is_anchor)
    n_anchors = min(int(rng.poisson(mean_number)), len(positions))
    return rng.choice(positions, n_anchors, replace=False)


def _bot_runs(
    city_config: CityConfig, block_walks: Walks, rng: np.random.Generator
) -> _ExtraEvents:
    n_runs = city_config.planted.bot * len(block_walks.item) / BOT_EVENTS
    anchors = _anchors(block_walks, n_runs, rng)
    run_lengths = rng.geometric(1 / BOT_EVENTS, len(anchors))
    gaps_s = np.maximum(rng.normal(BOT_GAP_S, BOT_GAP_SD_S, run_lengths.sum()), 1.0)
    total_s = np.cumsum(gaps_s)
    run_starts = np.cumsum(run_lengths) - run_lengths
    before_run_s = np.concatenate([[0.0], total_s])[run_starts]
    elapsed_s = np.rint(total_s - np.repeat(before_run_s, run_lengths)).astype(np.int64)
    event_anchors = np.repeat(anchors, run_lengths)
    return _ExtraEvents(
        block_walks.user[event_anchors],
        block_walks.occurred_s[event_anchors] + elapsed_s,
        rng.integers(city_config.n_items, size=len(elapsed_s), dtype=np.int32),
        AnomalyKind.BOT,
    )


def _floods(
    city_config: CityConfig, block_walks: Walks, period_start_s: int, rng: np.random.Generator
) -> _ExtraEvents:
    n_floods = int(rng.poisson(city_config.planted.flood * len(block_walks.item) / FLOOD_EVENTS))
    flood_sizes = rng.poisson(FLOOD_EVENTS, n_floods)
    flood_starts_s = period_start_s + rng.integers(city_config.days * 86_400, size=n_floods)
    flood_items = rng.integers(city_config.n_items, size=n_floods, dtype=np.int32)
    n_events = int(flood_sizes.sum())
    active_users = np.flatnonzero(block_walks.length > 0)
    return _ExtraEvents(
        rng.choice(active_users, n_events),
        np.repeat(flood_starts_s, flood_sizes) + rng.integers(FLOOD_S, size=n_events),
        np.repeat(flood_items, flood_sizes),
        AnomalyKind.FLOOD,
    )


def _teleports(
    city_config: CityConfig, city: City, block_walks: Walks, rng: np.random.Generator
) -> _ExtraEvents:
    anchors = _anchors(block_walks, city_config.planted.teleport * len(block_walks.item), rng)
    here = block_walks.item[anchors][:, None]
    there = rng.integers(city_config.n_items, size=(len(anchors), _N_TRIES), dtype=np.int32)
    km = haversine_km(
        lat=city.lat[here], lon=city.lon[here], to_lat=city.lat[there], to_lon=city.lon[there]
    )
    is_far = km >= TELEPORT_KM  # (n, _N_TRIES)
    has_far = is_far.any(axis=1)
    far_items = there[np.arange(len(anchors)), is_far.argmax(axis=1)]
    gaps_s = rng.integers(TELEPORT_GAP_S[0], TELEPORT_GAP_S[1], size=len(anchors))
    return _ExtraEvents(
        block_walks.user[anchors][has_far],
        (block_walks.occurred_s[anchors] + gaps_s)[has_far],
        far_items[has_far],
        AnomalyKind.TELEPORT,
    )
