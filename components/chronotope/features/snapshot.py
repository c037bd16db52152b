"""Loading of a feature snapshot as numeric event log and catalogue."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts.errors import ArtifactError, SourceError, StoreError
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int32
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ContentAxes, ItemContent
from chronotope.contracts.item_context import ITEM_CONTEXT_FILES, ItemContext
from chronotope.contracts.queries import CONTEXT
from chronotope.contracts.user_attributes import UserAttributes
from chronotope.features import shared_columns
from chronotope.features.build import (
    CONTENT_AXES,
    CONTENT_VECTORS,
    USER_ATTRIBUTES,
    read_verified_meta,
)
from chronotope.features.shared_columns import map_columns
from chronotope.features.sources import FeaturesConfig
from chronotope.features.table_files import ROW_GROUP_ROWS, TABLES

_LOG_INTS: Final = ("user_idx", "item_idx", "utc_offset_min", "place_idx", "session_idx")


def load_features(snapshot_dir: Path, *, shares_columns: bool = True) -> tuple[EventLog, Catalog]:
    """Load a feature snapshot.

    A log of ``MIN_SHARED_EVENTS`` or more is mapped from files beside the snapshot that all
    processes of the machine share; its arrays are read-only.

    Args:
        snapshot_dir: Folder of the snapshot, ``FeatureRef.path``.
        shares_columns: Whether these files may be written and read.

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
        checksum = snapshot_meta["checksums"]["events.parquet"] if shares_columns else None
        event_log = _log(snapshot_dir / "events.parquet", config, checksum)
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


def _log(events_path: Path, config: FeaturesConfig, shared_checksum: str | None) -> EventLog:
    """The event log, read column by column, so that it is never in memory twice.

    Args:
        events_path: Table of the events.
        config: Names of the context columns.
        shared_checksum: Checksum of the table, to share a large log between processes; None
            reads it into memory.
    """
    context_names = (*config.context, *config.context_table)
    types: dict[str, npt.DTypeLike] = dict.fromkeys(_LOG_INTS, np.int32)
    types |= {"occurred_s": np.int64, "value": np.float32}
    types |= {f"{CONTEXT}{name}": np.float32 for name in context_names}
    readers = {
        name: partial(_read_column, events_path, name.removeprefix(CONTEXT), column_type)
        for name, column_type in types.items()
    }
    n_events = pq.read_metadata(events_path).num_rows
    if shared_checksum is not None and n_events >= shared_columns.MIN_SHARED_EVENTS:
        columns = map_columns(events_path.parent, shared_checksum, readers)
    else:
        columns = {name: read_column() for name, read_column in readers.items()}
    context = {name: columns[f"{CONTEXT}{name}"] for name in context_names}
    plain_columns: dict[str, Any] = {
        name: column for name, column in columns.items() if not name.startswith(CONTEXT)
    }
    return EventLog(**plain_columns, context=context)


def _read_column(
    events_path: Path, column_name: str, column_type: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Values of a column of the events, NaN for null, shape (n_events,); one batch in addition."""
    with pq.ParquetFile(events_path) as parquet_file:
        values = np.empty(parquet_file.metadata.num_rows, column_type)
        first_row = 0
        for batch in parquet_file.iter_batches(ROW_GROUP_ROWS, columns=[column_name]):
            rows = slice(first_row, first_row + len(batch))
            values[rows] = batch.column(0).to_numpy(zero_copy_only=False)
            first_row = rows.stop
    return values


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


def _floats(table: pa.Table, column_name: str) -> Float64:
    """Values of a column, NaN for null, shape (n,)."""
    return np.asarray(table.column(column_name).to_numpy(), dtype=np.float64)


def _with_unknown(table: pa.Table, column_name: str) -> Float64:
    return np.concatenate([np.array([np.nan]), _floats(table, column_name)])
