"""Read a feature snapshot back as the numeric log and its catalogue."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import SourceError
from chronotope.contracts.eventlog import Catalog, EventLog, Float64, Int32, Int64
from chronotope.contracts.ids import IdMap
from chronotope.features.build import META, TABLES
from chronotope.features.sources import FeaturesConfig


def load_features(path: Path) -> tuple[EventLog, Catalog]:
    """Load a snapshot.

    Args:
        path: ``FeatureRef.path``.

    Returns:
        The log and what is known of its items, places and users.

    Raises:
        SourceError: The snapshot is missing or incomplete.
    """
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
        tables = {name: pq.read_table(path / f"{name}.parquet") for name in TABLES}
        config = FeaturesConfig.model_validate(meta["config"])
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(
            "The feature snapshot cannot be read",
            received=path,
            way_out="Build it again with build_features",
        ) from error
    return _log(tables["events"], config), _catalog(tables, config)


def _log(events: pa.Table, config: FeaturesConfig) -> EventLog:
    return EventLog(
        user_idx=_ints(events, "user_idx"),
        item_idx=_ints(events, "item_idx"),
        occurred_s=_instants(events),
        utc_offset_min=_ints(events, "utc_offset_min"),
        place_idx=_ints(events, "place_idx"),
        session_idx=_ints(events, "session_idx"),
        value=_floats(events, "value").astype(np.float32),
        context={
            name: _floats(events, name).astype(np.float32)
            for name in (*config.context, *config.surroundings)
        },
    )


def _catalog(tables: dict[str, pa.Table], config: FeaturesConfig) -> Catalog:
    items, places = tables["items"], tables["places"]
    titles = ["", *items.column("title").to_pylist()]
    return Catalog(
        users=_ids(tables["users"]),
        items=_ids(items),
        places=_ids(places),
        categories=_ids(tables["categories"]),
        item_category=np.concatenate([np.zeros(1, np.int32), _ints(items, "category_idx")]),
        item_lat=_with_unknown(items, "lat"),
        item_lon=_with_unknown(items, "lon"),
        place_lat=_with_unknown(places, "lat"),
        place_lon=_with_unknown(places, "lon"),
        items_are_places=config.items_are_places,
        item_title=np.array(titles, dtype=np.str_),
    )


def _ids(table: pa.Table) -> IdMap:
    return IdMap(table.column("id").combine_chunks().cast(pa.string()))


def _ints(table: pa.Table, name: str) -> Int32:
    return np.asarray(table.column(name).to_numpy(), dtype=np.int32)


def _instants(table: pa.Table) -> Int64:
    return np.asarray(table.column("occurred_s").to_numpy(), dtype=np.int64)


def _floats(table: pa.Table, name: str) -> Float64:
    """A column with NaN for null."""
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _with_unknown(table: pa.Table, name: str) -> Float64:
    return np.concatenate([np.array([np.nan]), _floats(table, name)])
