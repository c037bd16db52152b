"""A small simulated city as a log and a catalogue, and how well a model foresees its days."""

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.protocols import Recommender
from chronotope.datasets.city import CATEGORIES, CityConfig, build_city, item_ids
from chronotope.datasets.simulation import simulate_walks
from chronotope.metrics import evaluate


def walked(config: CityConfig) -> EventLog:
    """Everything that happens in the city."""
    (walks,) = simulate_walks(config, build_city(config))
    items = walks.item + 1
    return EventLog.sorted(
        user_idx=np.repeat(np.arange(1, len(walks.length) + 1), walks.length),
        item_idx=items,
        place_idx=items,
        occurred_s=walks.occurred_s,
        utc_offset_min=np.full(len(items), config.utc_offset_min),
    )


def catalog_of(config: CityConfig) -> Catalog:
    """What is known of the places apart from the events."""
    city, items = build_city(config), IdMap.of(item_ids(config))
    lat, lon = (np.r_[np.nan, degrees] for degrees in (city.lat, city.lon))
    return Catalog(
        users=IdMap.of([f"u{n:04d}" for n in range(config.n_users)]),
        items=items,
        places=items,
        categories=IdMap.of(list(CATEGORIES)),
        item_category=np.r_[0, city.category + 1].astype(np.int32),
        item_lat=lat,
        item_lon=lon,
        place_lat=lat,
        place_lon=lon,
        items_are_places=True,
    )


def instant_at(log: EventLog, share: float) -> int:
    """UTC second before which a share of the events lies."""
    return int(np.quantile(log.occurred_s, share))


def asked_from(log: EventLog, start_s: int) -> Int64:
    """Events from an instant on whose user has a past."""
    return np.flatnonzero((log.occurred_s >= start_s) & (log.basket_start() > log.user_start()))


def later_ranks(model: Recommender, log: EventLog, catalog: Catalog, start_s: int) -> Float64:
    """Learn what was before an instant; rank what came after, the moment given."""
    model.fit(log.before(start_s), catalog)
    asked = asked_from(log, start_s)
    return evaluate(model, log, asked, n_items=catalog.n_items, time_given=True).rank
