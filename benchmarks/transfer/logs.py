"""Logs of the transfer benchmark: read from their files, reduced to a sample of users."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.data_sets import data_set_dir
from benchmarks.next_place import read_stream
from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.contracts.ids import IdMap
from chronotope.datasets.city import CityConfig, city_items
from chronotope.datasets.simulation import simulate_events
from chronotope.training.pretraining import PretrainingLog

CITIES: Final = (
    CityConfig(n_events=20_000, n_users=300, n_items=800, days=150, rho=0.6, gamma=0.3, seed=11),
    CityConfig(n_events=20_000, n_users=150, n_items=400, days=300, rho=0.3, gamma=0.2, seed=12),
    CityConfig(n_events=20_000, n_users=600, n_items=2_000, days=60, rho=0.9, gamma=0.1, seed=13),
)
"""Cities of people who return, of people of habit, and of people who explore."""


def read_log(name: str, option: Path | None, max_events: int, seed: int) -> PretrainingLog:
    """Log of a data set, of as many randomly drawn users as have about ``max_events`` events.

    Args:
        name: A key of ``READERS``, or ``city_N``.
        option: Folder of the data sets.
        max_events: Events to keep, about.
        seed: Seed of the sample of users.

    Raises:
        SourceError: The files of the data set are missing.
    """
    if name.startswith("city_"):
        return sample_users(_city(CITIES[int(name.removeprefix("city_"))]), max_events, seed)
    return sample_users(READERS[name](data_set_dir(name, option)), max_events, seed)


def sample_users(pretraining_log: PretrainingLog, max_events: int, seed: int) -> PretrainingLog:
    """Log of randomly drawn users with about ``max_events`` events; the catalogue stays."""
    log = pretraining_log.log
    if len(log) <= max_events:
        return pretraining_log
    users, n_events = np.unique(log.user_idx, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(users))
    n_drawn = int(np.searchsorted(np.cumsum(n_events[order]), max_events)) + 1
    is_drawn = np.isin(log.user_idx, users[order][:n_drawn])
    return pretraining_log._replace(log=log.take(is_drawn))


def _foursquare(folder: Path) -> PretrainingLog:
    stream = read_stream(folder)
    return PretrainingLog(stream.log, stream.catalog)


def _movielens(folder: Path) -> PretrainingLog:
    ratings, films = (pq.read_table(folder / name) for name in ("ratings.parquet", "items.parquet"))
    return _as_log(
        ratings["user_id"],
        ratings["item_id"],
        ratings["utc_time"],
        category_by_item=_pairs(films, "movie_id", "genres"),
    )


def _hospital(folder: Path) -> PretrainingLog:
    events = pq.read_table(folder / "events.parquet")
    return _as_log(
        events["patient_id"],
        events["activity"],
        events["occurred_at"],
        places=events["department"],
        category_by_item=_pairs(events, "activity", "section"),
    )


def _card_payments(folder: Path) -> PretrainingLog:
    payments = pq.read_table(folder / "payments.parquet")
    return _as_log(payments["customer_id"], payments["terminal_id"], payments["occurred_at"])


def _oulad(folder: Path) -> PretrainingLog:
    clicks, pages = (pq.read_table(folder / name) for name in ("clicks.parquet", "pages.parquet"))
    return _as_log(
        clicks["id_student"],
        clicks["id_site"],
        clicks["occurred_at"],
        category_by_item=_pairs(pages, "id_site", "activity_type"),
    )


READERS: Final[dict[str, Callable[[Path], PretrainingLog]]] = {
    "foursquare_nyc": _foursquare,
    "movielens_100k": _movielens,
    "hospital": _hospital,
    "card_payments": _card_payments,
    "oulad_slice": _oulad,
}
"""Reader of each data set."""


def _city(city_config: CityConfig) -> PretrainingLog:
    """Log of a simulated city; coordinates and categories of its places are known."""
    events, items = pa.concat_tables(simulate_events(city_config)), city_items(city_config)
    unplaced = _as_log(
        events["user_id"],
        events["item_id"],
        events["occurred_at"],
        offset_min=events["utc_offset_min"],
        category_by_item=_pairs(items, "item_id", "category"),
    )
    rows = IdMap.of(items["item_id"]).index(unplaced.catalog.items.ids) - 1
    lat, lon = (np.r_[np.nan, items[name].to_numpy()[rows]] for name in ("lat", "lon"))
    catalog = replace(
        unplaced.catalog,
        places=unplaced.catalog.items,
        item_lat=lat,
        item_lon=lon,
        place_lat=lat,
        place_lon=lon,
        items_are_places=True,
    )
    return PretrainingLog(replace(unplaced.log, place_idx=unplaced.log.item_idx), catalog)


def _pairs(table: pa.Table, item_column: str, category_column: str) -> dict[str, str]:
    """Category by item; of an item with several the last one."""
    items, categories = (table[name].cast(pa.string()) for name in (item_column, category_column))
    pairs = zip(items.to_pylist(), categories.to_pylist(), strict=True)
    return {item: category for item, category in pairs if category}


def _as_log(
    users: pa.ChunkedArray,
    items: pa.ChunkedArray,
    times: pa.ChunkedArray,
    *,
    places: pa.ChunkedArray | None = None,
    offset_min: pa.ChunkedArray | None = None,
    category_by_item: Mapping[str, str] = MappingProxyType({}),
) -> PretrainingLog:
    """Log and catalogue of columns; times are read as UTC if they have no zone."""
    user_ids, item_ids = IdMap.of(users), IdMap.of(items)
    place_ids = IdMap.of([]) if places is None else IdMap.of(places)
    categories = IdMap.of(sorted(set(category_by_item.values())))
    item_categories = [category_by_item.get(item_id) for item_id in item_ids.ids.to_pylist()]
    unknown: Float64 = np.full(item_ids.size, np.nan)
    catalog = Catalog(
        users=user_ids,
        items=item_ids,
        places=place_ids,
        categories=categories,
        item_category=np.r_[0, categories.index(pa.array(item_categories, pa.string()))].astype(
            np.int32
        ),
        item_lat=unknown,
        item_lon=unknown,
        place_lat=np.full(place_ids.size, np.nan),
        place_lon=np.full(place_ids.size, np.nan),
    )
    log = EventLog.sorted(
        user_idx=user_ids.index(users),
        item_idx=item_ids.index(items),
        occurred_s=pc.cast(pc.cast(times, pa.timestamp("s", tz="UTC"), safe=False), pa.int64()),
        utc_offset_min=offset_min,
        place_idx=None if places is None else place_ids.index(places),
    )
    return PretrainingLog(log, catalog)
