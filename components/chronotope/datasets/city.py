"""Catalogue, visit probabilities and exploration tables of a simulated city.

The place of each event of a user is

    home             with probability a_home(hour of week),
    work             with probability a_work(hour of week),
    a visited place  with (1 - p_new) of the remaining probability: the place of one of the
                     user's past events, each event equally likely (preferential return),
    an explored one  with p_new of the remaining probability: one of the ``N_SLOTS`` entries in
                     the table of the user's latest place, each equally likely.

p_new = rho (1 + n)^-gamma, where n is the number of the user's past events. The entries of the
tables are drawn with probability ∝ popularity x exp(-distance / decay_km).

Source: exploration and preferential return after Song, Koren, Wang & Barabási (2010),
with n counting past events instead of distinct places.
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
from chronotope.datasets.city_anomalies.rates import AnomalyRates
from chronotope.spacetime.clock import HOURS_PER_WEEK
from chronotope.spacetime.distances import haversine_km

IS_ANOMALY: Final = "is_anomaly"
"""Context column of a simulated log: 1 where an event is an injected anomaly."""
ANOMALY_KIND: Final = "anomaly_kind"
"""Column of a simulated log with planted anomalies: kind of each event, ``regular`` included."""
N_SLOTS: Final = 64
"""Entries in the exploration table of a place."""
OPENING: Final = 0.8
"""Fraction of the period after which cold-start places open."""

CATEGORIES: Final = ("café", "bakery", "gym", "park", "office", "cinema", "market", "museum")
_ADJECTIVES: Final = ("quiet", "bright", "old", "new", "small", "grand", "busy", "hidden")
_CENTRE: Final = (48.2082, 16.3738)
_SPREAD_DEG: Final = (0.036, 0.054)  # about 4 km each way
_BLOCK_ROWS: Final = 256


class CityConfig(BaseModel):
    """Size, period, visit behaviour and anomalies of a simulated city."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_events: int = Field(default=100_000, ge=1_000, le=100_000_000, description="Number of events")
    n_users: int = Field(default=1_000, ge=2, le=5_000_000, description="Number of users")
    n_items: int = Field(default=1_000, ge=10, le=5_000, description="Number of places")
    start: date = Field(default=date(2024, 1, 1), description="First day of the log, local time")
    days: int = Field(default=120, ge=7, le=3_650, description="Length of the log in days")
    utc_offset_min: int = Field(
        default=60, ge=-720, le=840, description="UTC offset of local time, minutes"
    )
    rho: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Factor rho of the exploration probability rho (1 + n)^-gamma, "
        "n being the number of the user's past events",
    )
    gamma: float = Field(
        default=0.3, ge=0, le=2, description="Exponent gamma of the exploration probability"
    )
    decay_km: float = Field(
        default=2.0,
        gt=0,
        le=100,
        description="Distance over which the weight of a place in exploration falls by the "
        "factor e, km",
    )
    cold_users: float = Field(
        default=0.05,
        ge=0,
        le=0.9,
        description="Share of cold-start users, who join after 80 % of the period and have "
        "few events",
    )
    cold_items: float = Field(
        default=0.05,
        ge=0,
        le=0.9,
        description="Share of cold-start places, which open after 80 % of the period",
    )
    anomalies: float = Field(
        default=0.005,
        ge=0,
        le=0.5,
        description="Share of anomalous events: at a random place, 30 s after the user's "
        "previous event",
    )
    planted: AnomalyRates = Field(
        default=AnomalyRates(), description="Rates of anomalies of a known kind, by kind"
    )
    seed: int = Field(default=7, ge=0, description="Random seed of the city and the log")


@dataclass(frozen=True, slots=True)
class City:
    """Places and visit probabilities of a city, independent of its users.

    Attributes:
        lat, lon: Coordinates of the places, degrees (WGS 84), shape (n_items,).
        cold: Whether a place opens only at ``OPENING``, shape (n_items,).
        category: Index into ``CATEGORIES``, shape (n_items,).
        slots: Exploration tables before and after ``OPENING``: indices of candidate places,
            shape (2, n_items, N_SLOTS).
        go_home, go_work: Probability that an event is at home, at work, by hour of week,
            shape (168,).
    """

    lat: Float64
    lon: Float64
    cold: npt.NDArray[np.bool_]
    category: Int32
    slots: Int32
    go_home: Float64
    go_work: Float64


def build_city(city_config: CityConfig) -> City:
    """Draw the places and exploration tables of a city; deterministic for a config."""
    random_generator = np.random.default_rng([city_config.seed, 0])
    n_items = city_config.n_items
    lat_deg = _CENTRE[0] + _SPREAD_DEG[0] * random_generator.standard_normal(n_items)
    lon_deg = _CENTRE[1] + _SPREAD_DEG[1] * random_generator.standard_normal(n_items)
    popularity: Float64 = np.asarray(
        1.0 / (1.0 + random_generator.permutation(n_items)), dtype=np.float64
    )
    is_cold = random_generator.permutation(n_items) < int(city_config.cold_items * n_items)
    slot_tables = [
        _exploration_table(
            lat_deg, lon_deg, popularity * is_open, city_config.decay_km, random_generator
        )
        for is_open in (~is_cold, np.ones_like(is_cold))
    ]
    go_home, go_work = _weekly_probabilities()
    return City(
        lat=lat_deg,
        lon=lon_deg,
        cold=is_cold,
        category=random_generator.integers(len(CATEGORIES), size=n_items, dtype=np.int32),
        slots=np.stack(slot_tables),
        go_home=go_home,
        go_work=go_work,
    )


def item_ids(city_config: CityConfig) -> pa.StringArray:
    """Ids of the places in index order, shape (n_items,)."""
    return pa.array([f"p{item_idx:04d}" for item_idx in range(city_config.n_items)], pa.string())


def city_items(city_config: CityConfig) -> pa.Table:
    """The catalogue of a city, in the schema of ``ITEMS``."""
    city = build_city(city_config)
    item_categories = [CATEGORIES[category_idx] for category_idx in city.category.tolist()]
    item_titles = [
        f"The {_ADJECTIVES[(7 * item_idx + 3) % len(_ADJECTIVES)]} {category} no. {item_idx}"
        for item_idx, category in enumerate(item_categories)
    ]
    town_sides = np.where(city.lat > _CENTRE[0], "north", "south").tolist()
    item_texts = [
        f"{title}, in the {town_side} of town"
        for title, town_side in zip(item_titles, town_sides, strict=True)
    ]
    item_columns = [
        item_ids(city_config),
        item_categories,
        item_titles,
        item_texts,
        [None] * city_config.n_items,
        city.lat,
        city.lon,
    ]
    return pa.table(
        [
            pa.array(column_values, item_field.type)
            for column_values, item_field in zip(item_columns, ITEMS, strict=True)
        ],
        schema=ITEMS,
    )


def _exploration_table(
    lat: Float64, lon: Float64, item_weights: Float64, decay_km: float, rng: np.random.Generator
) -> Int32:
    """Candidate places of exploration from each place, shape (n_items, N_SLOTS)."""
    n_items = len(lat)
    slot_table = np.empty((n_items, N_SLOTS), dtype=np.int32)
    for first_row in range(0, n_items, _BLOCK_ROWS):
        row_slice = slice(first_row, min(first_row + _BLOCK_ROWS, n_items))
        km = haversine_km(
            lat=lat[row_slice, None], lon=lon[row_slice, None], to_lat=lat, to_lon=lon
        )
        # Relative to the nearest candidate: the weights of a remote place would underflow to 0.
        relative_km = km - np.where(item_weights > 0, km, np.inf).min(axis=1, keepdims=True)
        cumulative_weights = np.cumsum(
            item_weights * np.exp(-np.maximum(relative_km, 0.0) / decay_km), axis=1
        )
        cumulative_weights /= cumulative_weights[:, -1:]
        n_rows = len(cumulative_weights)
        row_offsets = np.arange(n_rows)[:, None]  # one searchsorted for all rows
        uniform_draws = rng.random((n_rows, N_SLOTS)) + row_offsets
        slot_items = np.searchsorted(
            (cumulative_weights + row_offsets).ravel(), uniform_draws.ravel(), side="right"
        )
        slot_table[row_slice] = np.minimum(
            slot_items.reshape(n_rows, N_SLOTS) - row_offsets * n_items, n_items - 1
        )
    return slot_table


def _weekly_probabilities() -> tuple[Float64, Float64]:
    """Probabilities of home and work, by hour of week (0 is Monday, 00:00 to 01:00)."""
    hour_of_day, week_day = np.arange(HOURS_PER_WEEK) % 24, np.arange(HOURS_PER_WEEK) // 24
    at_work = (week_day < 5) & (hour_of_day >= 8) & (hour_of_day < 17)
    at_home = (hour_of_day >= 21) | (hour_of_day < 7)
    return np.where(at_home, 0.7, 0.1), np.where(at_work, 0.6, 0.02)
