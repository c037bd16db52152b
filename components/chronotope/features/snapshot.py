"""Loading of a feature snapshot as numeric event log and catalogue."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import ArtifactError, SourceError, StoreError
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Float64, Int32, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ContentAxes, ItemContent
from chronotope.contracts.item_context import ITEM_CONTEXT_FILES, ItemContext
from chronotope.contracts.user_attributes import UserAttributes
from chronotope.features.build import (
    CONTENT_AXES,
    CONTENT_VECTORS,
    USER_ATTRIBUTES,
    read_verified_meta,
)
from chronotope.features.sources import FeaturesConfig
from chronotope.features.table_files import TABLES

_LOG_INTS: Final = ("user_idx", "item_idx", "utc_offset_min", "place_idx", "session_idx")


def load_features(snapshot_dir: Path) -> tuple[EventLog, Catalog]:
    """Load a feature snapshot.

    Args:
        snapshot_dir: Folder of the snapshot, ``FeatureRef.path``.

    Returns:
        The event log, and the catalogue of its users, items, places and categories.

    Raises:
        SourceError: The snapshot is missing, incomplete or damaged.
    """
    try:
        snapshot_meta = read_verified_meta(snapshot_dir)
        config = FeaturesConfig.model_validate(snapshot_meta["config"])
        catalog_tables = {
            table_name: pq.read_table(snapshot_dir / f"{table_name}.parquet")
            for table_name in TABLES
            if table_name != "events"
        }
        event_log = _log(snapshot_dir / "events.parquet", config)
        content = _content(snapshot_dir)
        user_attributes = _user_attributes(snapshot_dir)
        item_context = _item_context(snapshot_dir)
    except (StoreError, ArtifactError) as error:
        raise SourceError(error.problem, received=error.received, way_out=error.way_out) from error
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(
            "The feature snapshot cannot be read",
            received=f"{snapshot_dir}: {error}",
            way_out=f"Delete {snapshot_dir} and call build_features",
        ) from error
    item_catalog = _catalog(catalog_tables, config)
    return replace(event_log, item_context=item_context), replace(
        item_catalog,
        content=content,
        user_attributes=user_attributes,
        item_context=() if item_context is None else item_context.columns,
    )


def _content(snapshot_dir: Path) -> ItemContent | None:
    """Content of the items; None in a snapshot without any."""
    if not (snapshot_dir / CONTENT_VECTORS).is_file():
        return None
    row_vectors = np.load(snapshot_dir / CONTENT_VECTORS, allow_pickle=False)
    return ItemContent(ContentAxes.load(snapshot_dir / CONTENT_AXES), row_vectors)


def _item_context(snapshot_dir: Path) -> ItemContext | None:
    """Index of the item context; None in a snapshot without any."""
    if not all((snapshot_dir / name).is_file() for name in ITEM_CONTEXT_FILES):
        return None
    return ItemContext.load(snapshot_dir)


def _user_attributes(snapshot_dir: Path) -> UserAttributes | None:
    """Attributes of the users; None in a snapshot without a users table."""
    attributes_path = snapshot_dir / USER_ATTRIBUTES
    return UserAttributes.load(attributes_path) if attributes_path.is_file() else None


def _log(events_path: Path, config: FeaturesConfig) -> EventLog:
    """The event log, read column by column, so that it is never in memory twice."""

    def column(column_name: str) -> pa.Table:
        return pq.read_table(events_path, columns=[column_name])

    ints = {name: _ints(column(name), name) for name in _LOG_INTS}
    return EventLog(
        user_idx=ints["user_idx"],
        item_idx=ints["item_idx"],
        utc_offset_min=ints["utc_offset_min"],
        place_idx=ints["place_idx"],
        session_idx=ints["session_idx"],
        occurred_s=_instants(column("occurred_s")),
        value=_float32(column("value"), "value"),
        context={
            column_name: _float32(column(column_name), column_name)
            for column_name in (*config.context, *config.context_table)
        },
    )


def _catalog(catalog_tables: dict[str, pa.Table], config: FeaturesConfig) -> Catalog:
    item_rows, place_rows = catalog_tables["items"], catalog_tables["places"]
    item_titles = ["", *item_rows.column("title").to_pylist()]
    return Catalog(
        users=_ids(catalog_tables["users"]),
        items=_ids(item_rows),
        places=_ids(place_rows),
        categories=_ids(catalog_tables["categories"]),
        item_category=np.concatenate([np.zeros(1, np.int32), _ints(item_rows, "category_idx")]),
        item_lat=_with_unknown(item_rows, "lat"),
        item_lon=_with_unknown(item_rows, "lon"),
        place_lat=_with_unknown(place_rows, "lat"),
        place_lon=_with_unknown(place_rows, "lon"),
        items_are_places=config.items_are_places,
        item_title=np.array(item_titles, dtype=np.str_),
    )


def _ids(table: pa.Table) -> IdMap:
    return IdMap(table.column("id").combine_chunks().cast(pa.string()))


def _ints(table: pa.Table, column_name: str) -> Int32:
    return np.asarray(table.column(column_name).to_numpy(), dtype=np.int32)


def _instants(table: pa.Table) -> Int64:
    return np.asarray(table.column("occurred_s").to_numpy(), dtype=np.int64)


def _floats(table: pa.Table, column_name: str) -> Float64:
    """Values of a column, NaN for null, shape (n,)."""
    return np.asarray(table.column(column_name).to_numpy(), dtype=np.float64)


def _float32(table: pa.Table, column_name: str) -> Float32:
    return np.asarray(table.column(column_name).to_numpy(), dtype=np.float32)


def _with_unknown(table: pa.Table, column_name: str) -> Float64:
    return np.concatenate([np.array([np.nan]), _floats(table, column_name)])
