"""A city that never was: its places, its rhythm, and the law by which people move in it.

At every event a person goes

    home            with probability a_home(hour of week),
    to work         with probability a_work(hour of week),
    to a known place with (1 - p_new) of the rest: the place of one of the person's past
                    events, each event equally likely (preferential return),
    to explore      with p_new of the rest: one of the ``N_SLOTS`` entries in the table of
                    the place the person comes from, each equally likely.

p_new = rho (1 + n)^-gamma, n being the person's past events. The tables were drawn with
probability ∝ popularity x exp(-distance / decay_km).

Source: exploration and preferential return after Song, Koren, Wang & Barabási (2010),
with past events in place of distinct places.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.event_log import Float64, Int32
from chronotope.contracts.schemas import ITEMS
from chronotope.spacetime.clock import HOURS_PER_WEEK
from chronotope.spacetime.distances import haversine_km

IS_ANOMALY: Final = "is_anomaly"
"""Context column of a simulated log: 1 where an event breaks the law on purpose."""
N_SLOTS: Final = 64
OPENING: Final = 0.8
"""Share of the period after which the cold places open."""

CATEGORIES: Final = ("café", "bakery", "gym", "park", "office", "cinema", "market", "museum")
_MANNERS: Final = ("quiet", "bright", "old", "new", "small", "grand", "busy", "hidden")
_CENTRE: Final = (48.2082, 16.3738)
_SPREAD_DEG: Final = (0.036, 0.054)  # about 4 km each way
_ROWS_AT_ONCE: Final = 256


class CityConfig(BaseModel):
    """Size and temper of a simulated city."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_events: int = Field(default=100_000, ge=1_000, le=100_000_000, description="Events in all")
    n_users: int = Field(default=1_000, ge=2, le=5_000_000, description="People")
    n_items: int = Field(default=1_000, ge=10, le=5_000, description="Places")
    start: date = Field(default=date(2024, 1, 1), description="First day, local")
    days: int = Field(default=120, ge=7, le=3_650, description="Length of the period")
    utc_offset_min: int = Field(default=60, ge=-720, le=840, description="Local clock, minutes")
    rho: float = Field(default=0.6, gt=0, le=1, description="Urge to explore at the start")
    gamma: float = Field(default=0.3, ge=0, le=2, description="How fast that urge fades")
    decay_km: float = Field(default=2.0, gt=0, le=100, description="Distance decay of exploration")
    cold_users: float = Field(
        default=0.05, ge=0, le=0.9, description="Share of people who come late and do little"
    )
    cold_items: float = Field(
        default=0.05, ge=0, le=0.9, description="Share of places that open after 80 % of the period"
    )
    anomalies: float = Field(
        default=0.005, ge=0, le=0.5, description="Share of events 30 s after the last, anywhere"
    )
    seed: int = Field(default=7, ge=0, description="Same seed, same city and same log")


@dataclass(frozen=True, slots=True)
class City:
    """Everything about a city that does not depend on a person.

    Attributes:
        lat, lon: Degrees WGS 84, shape (n_items,).
        cold: Whether a place opens late, shape (n_items,).
        category: Position in ``CATEGORIES``, shape (n_items,).
        slots: Exploration tables before and after the opening, (2, n_items, N_SLOTS).
        go_home, go_work: Probabilities by hour of week, shape (168,).
    """

    lat: Float64
    lon: Float64
    cold: npt.NDArray[np.bool_]
    category: Int32
    slots: Int32
    go_home: Float64
    go_work: Float64


def build_city(config: CityConfig) -> City:
    """Lay out the places and tables of a city; the same config gives the same city."""
    rng = np.random.default_rng([config.seed, 0])
    n = config.n_items
    lat = _CENTRE[0] + _SPREAD_DEG[0] * rng.standard_normal(n)
    lon = _CENTRE[1] + _SPREAD_DEG[1] * rng.standard_normal(n)
    popularity: Float64 = np.asarray(1.0 / (1.0 + rng.permutation(n)), dtype=np.float64)
    cold = rng.permutation(n) < int(config.cold_items * n)
    tables = [
        _exploration_table(lat, lon, popularity * is_open, config.decay_km, rng)
        for is_open in (~cold, np.ones_like(cold))
    ]
    go_home, go_work = _rhythm()
    return City(
        lat=lat,
        lon=lon,
        cold=cold,
        category=rng.integers(len(CATEGORIES), size=n, dtype=np.int32),
        slots=np.stack(tables),
        go_home=go_home,
        go_work=go_work,
    )


def item_ids(config: CityConfig) -> pa.StringArray:
    """Ids of the places in index order, shape (n_items,)."""
    return pa.array([f"p{i:04d}" for i in range(config.n_items)], pa.string())


def city_items(config: CityConfig) -> pa.Table:
    """The catalogue of a city, in the schema of ``ITEMS``."""
    city = build_city(config)
    kinds = [CATEGORIES[k] for k in city.category.tolist()]
    titles = [
        f"The {_MANNERS[(7 * i + 3) % len(_MANNERS)]} {kind} no. {i}"
        for i, kind in enumerate(kinds)
    ]
    side = np.where(city.lat > _CENTRE[0], "north", "south").tolist()
    texts = [f"{title}, in the {where} of town" for title, where in zip(titles, side, strict=True)]
    columns = [item_ids(config), kinds, titles, texts, [None] * config.n_items, city.lat, city.lon]
    return pa.table(
        [pa.array(v, f.type) for v, f in zip(columns, ITEMS, strict=True)], schema=ITEMS
    )


def _exploration_table(
    lat: Float64, lon: Float64, weights: Float64, decay_km: float, rng: np.random.Generator
) -> Int32:
    """Where one may explore from each place, shape (n_items, N_SLOTS)."""
    n = len(lat)
    table = np.empty((n, N_SLOTS), dtype=np.int32)
    for first in range(0, n, _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, n))
        km = haversine_km(lat=lat[rows, None], lon=lon[rows, None], to_lat=lat, to_lon=lon)
        # Relative to the nearest place, so that a remote one keeps a positive total.
        far = km - np.where(weights > 0, km, np.inf).min(axis=1, keepdims=True)
        cumulative = np.cumsum(weights * np.exp(-np.maximum(far, 0.0) / decay_km), axis=1)
        cumulative /= cumulative[:, -1:]
        m = len(cumulative)
        lift = np.arange(m)[:, None]  # rows one above the other: a single sorted search
        drawn = rng.random((m, N_SLOTS)) + lift
        found = np.searchsorted((cumulative + lift).ravel(), drawn.ravel(), side="right")
        table[rows] = np.minimum(found.reshape(m, N_SLOTS) - lift * n, n - 1)
    return table


def _rhythm() -> tuple[Float64, Float64]:
    """Probabilities of going home and to work, by hour of week (Monday midnight is 0)."""
    hour, weekday = np.arange(HOURS_PER_WEEK) % 24, np.arange(HOURS_PER_WEEK) // 24
    at_work = (weekday < 5) & (hour >= 8) & (hour < 17)
    at_home = (hour >= 21) | (hour < 7)
    return np.where(at_home, 0.7, 0.1), np.where(at_work, 0.6, 0.02)
