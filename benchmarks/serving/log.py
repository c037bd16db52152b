"""Generated log of a given number of items: favourites of each user, popularity by Zipf's law."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.datasets.spec import DatasetSpec

N_FAVOURITES: Final = 24
N_CATEGORIES: Final = 200
MOST_USERS: Final = 20_000
EVENTS_AN_ITEM: Final = 20
MOST_EVENTS: Final = 2_000_000
"""Of a catalogue of more than half as many items: twice as many events as items."""

_START_S: Final = 1_704_063_600
_PERIOD_S: Final = 120 * 86_400
_CENTRE: Final = (48.2082, 16.3738)
_SPREAD_DEG: Final = 0.05


def write_log(name: str, folder: Path, n_items: int, *, placed: bool, seed: int = 0) -> DatasetSpec:
    """Write events and items; returns their dataset specification.

    Seven of ten events are one of the user's favourites; every item occurs at least once.

    Args:
        name: Name of the dataset.
        folder: Folder of the two files; absolute.
        n_items: Size of the catalogue.
        placed: Whether items are places with coordinates.
        seed: Seed of the generator.
    """
    draw = np.random.default_rng(seed)
    n_users = max(10, min(n_items // 5, MOST_USERS))
    n_events = max(2 * n_items, min(EVENTS_AN_ITEM * n_items, MOST_EVENTS))
    share = 1.0 / draw.permutation(np.arange(1, n_items + 1))
    until = np.cumsum(share / share.sum())
    user = draw.integers(0, n_users, n_events)
    item = np.searchsorted(until, draw.random(n_events))
    liked = np.searchsorted(until, draw.random((n_users, N_FAVOURITES)))
    again = draw.random(n_events) < 0.7
    item[again] = liked[user[again], draw.integers(0, N_FAVOURITES, again.sum())]
    item = np.minimum(item, n_items - 1)
    item[:n_items] = draw.permutation(n_items)
    seconds = _START_S + draw.integers(0, _PERIOD_S, n_events)
    seconds.sort()
    order = draw.permutation(n_events)  # the first events are not the rare items'
    folder.mkdir(parents=True, exist_ok=True)
    events = {"user": user[order], "item": item[order], "at": seconds}
    pq.write_table(pa.table(events), folder / "events.parquet")
    kind = draw.zipf(1.5, n_items) % N_CATEGORIES
    items = {"item": np.arange(n_items), "kind": np.char.add("kind ", kind.astype(str))}
    items["title"] = np.char.add("item ", np.arange(n_items).astype(str))
    columns = {"item_id": "item", "category": "kind", "title": "title"}
    if placed:
        for axis, middle in zip(("lat", "lon"), _CENTRE, strict=True):
            items[axis] = middle + _SPREAD_DEG * draw.normal(size=n_items)
            columns[axis] = axis
    pq.write_table(pa.table(items), folder / "items.parquet")
    told = {"user_id": "user", "item_id": "item", "occurred_at": "at"}
    return DatasetSpec.model_validate(
        {
            "name": name,
            "description": "Drawn: favourites, and popularity by Zipf's law",
            "licence": "CC0-1.0",
            "data_dir": folder,
            "items_are_places": placed,
            "time": {"kind": "epoch_s"},
            "events": {"format": "parquet", "path": "events.parquet", "columns": told},
            "items": {"format": "parquet", "path": "items.parquet", "columns": columns},
        }
    )
