"""Log and catalogue of a small simulated city."""

from functools import cache

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.datasets.city import CityConfig, build_city, item_ids
from chronotope.datasets.simulation import simulate_walks

CONFIG = CityConfig(n_events=8_000, n_users=100, n_items=60, cold_users=0.0, anomalies=0.0)


@cache
def small_city() -> tuple[EventLog, Catalog]:
    city = build_city(CONFIG)
    (walks,) = simulate_walks(CONFIG, city)
    items = IdMap(item_ids(CONFIG))
    log = EventLog.sorted(
        user_idx=walks.user + 1,
        item_idx=walks.item + 1,
        occurred_s=walks.occurred_s,
        utc_offset_min=np.full(len(walks.item), CONFIG.utc_offset_min),
        place_idx=walks.item + 1,
    )
    lat, lon = (np.concatenate([[np.nan], degrees]) for degrees in (city.lat, city.lon))
    catalog = Catalog(
        users=IdMap.of([f"u{number:03d}" for number in range(CONFIG.n_users)]),
        items=items,
        places=items,
        categories=IdMap.of(["a"]),
        item_category=np.zeros(items.size, np.int32),
        item_lat=lat,
        item_lon=lon,
        place_lat=lat,
        place_lon=lon,
        items_are_places=True,
    )
    return log, catalog
