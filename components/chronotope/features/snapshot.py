"""Read a feature snapshot back as the numeric log and its catalogue."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import SourceError, StoreError
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Float64, Int32, Int64
from chronotope.contracts.ids import IdMap
from chronotope.features.build import TABLES, read_checked
from chronotope.features.sources import FeaturesConfig

_LOG_INTS: Final = ("user_idx", "item_idx", "utc_offset_min", "place_idx", "session_idx")


def load_features(path: Path) -> tuple[EventLog, Catalog]:
    """Load a snapshot.

    Args:
        path: ``FeatureRef.path``.

    Returns:
        The log and what is known of its items, places and users.

    Raises:
        SourceError: The snapshot is missing, incomplete or damaged.
    """
    try:
        meta = read_checked(path)
        config = FeaturesConfig.model_validate(meta["config"])
        tables = {n: pq.read_table(path / f"{n}.parquet") for n in TABLES if n != "events"}
        log = _log(path / "events.parquet", config)
    except StoreError as error:
        raise SourceError(error.what, received=error.received, way_out=error.way_out) from error
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(
            "The feature snapshot cannot be read",
            received=f"{path}: {error}",
            way_out=f"Delete {path} and build it again with build_features",
        ) from error
    return log, _catalog(tables, config)


def _log(path: Path, config: FeaturesConfig) -> EventLog:
    """The log, read a column at a time: a large one then never lies in memory twice."""

    def column(name: str) -> pa.Table:
        return pq.read_table(path, columns=[name])

    return EventLog(
        **{name: _ints(column(name), name) for name in _LOG_INTS},
        occurred_s=_instants(column("occurred_s")),
        value=_float32(column("value"), "value"),
        context={
            name: _float32(column(name), name) for name in (*config.context, *config.surroundings)
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


def _float32(table: pa.Table, name: str) -> Float32:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float32)


def _with_unknown(table: pa.Table, name: str) -> Float64:
    return np.concatenate([np.array([np.nan]), _floats(table, name)])
