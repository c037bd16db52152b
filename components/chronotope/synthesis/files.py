"""Files of a synthetic log: events, items, dataset YAML, and the report as JSON and HTML."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int32
from chronotope.contracts.schemas import INSTANT
from chronotope.report.page import write_page
from chronotope.runtime.durable_files import replacing, write_text
from chronotope.synthesis.report_page import render_synthesis
from chronotope.synthesis.synthesise import SyntheticLog

EVENTS_FILE: Final = "events.parquet"
ITEMS_FILE: Final = "items.parquet"
REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"


def write_synthetic_log(
    result: SyntheticLog, catalog: Catalog, folder: Path, *, event_type: str
) -> Path:
    """Write all files of a synthetic log; existing ones are replaced.

    Args:
        result: Generated events and their figures.
        catalog: Catalogue of the real log; only items that occur are written.
        folder: Folder of the files.
        event_type: Type of all events.

    Returns:
        The YAML of the dataset, for ``chronotope ingest``.
    """
    events = _event_table(result.log, catalog, event_type)
    items = _item_table(result.log, catalog)
    for table, file_name in ((events, EVENTS_FILE), (items, ITEMS_FILE)):
        with replacing(folder / file_name) as draft_path:
            pq.write_table(table, draft_path)
    write_text(folder / REPORT_FILE, result.figures.model_dump_json(indent=2) + "\n")
    write_page(render_synthesis(result.figures), folder / PAGE_FILE)
    name = f"{result.figures.dataset}_synthetic"
    event_columns = [column for column in events.column_names if column != c.SESSION_ID]
    content = {
        "name": name,
        "description": f"Generated users like those of {result.figures.dataset}; nobody's events",
        "data_dir": str(folder.resolve()),
        "event_type": event_type,
        "items_are_places": catalog.items_are_places,
        "time": {"kind": "timestamp", "timezone": "UTC"},
        "identity": "occurrence",
        "events": {
            "format": "parquet",
            "path": EVENTS_FILE,
            "columns": {column: column for column in event_columns},
        },
        "items": {
            "format": "parquet",
            "path": ITEMS_FILE,
            "columns": {column: column for column in items.column_names},
        },
    }
    dataset_path = folder / f"{name}.yaml"
    write_text(dataset_path, yaml.safe_dump(content, sort_keys=False))
    return dataset_path


def _event_table(log: EventLog, catalog: Catalog, event_type: str) -> pa.Table:
    """Events in the order of time, with the columns that the log has."""
    time_order = np.argsort(log.occurred_s, kind="stable")
    user_ids = [f"s{user_idx:07d}" for user_idx in log.user_idx[time_order].tolist()]
    event_columns = {
        c.USER_ID: pa.array(user_ids, pa.string()),
        c.ITEM_ID: pa.array(catalog.items.names(log.item_idx[time_order]), pa.string()),
        c.EVENT_TYPE: pa.array([event_type] * len(log), pa.string()),
        c.OCCURRED_AT: pa.array(log.occurred_s[time_order] * 1_000_000).cast(INSTANT),
        c.UTC_OFFSET_MIN: pa.array(log.utc_offset_min[time_order]),
    }
    place_idx = log.place_idx[time_order]
    if (place_idx > 0).any() and not catalog.items_are_places:
        event_columns[c.PLACE_ID] = pa.array(catalog.places.names(place_idx), pa.string())
    event_columns |= _coordinates(catalog, log.item_idx[time_order], place_idx)
    if not np.isnan(log.value).all():
        event_columns[c.VALUE] = pa.array(
            log.value[time_order].astype(np.float64), from_pandas=True
        )
    return pa.table(event_columns)


def _coordinates(catalog: Catalog, item_idx: Int32, place_idx: Int32) -> dict[str, pa.Array]:
    """Coordinates of the places of events, if there are any."""
    lat_deg: Float64 = catalog.place_lat[place_idx]
    lon_deg: Float64 = catalog.place_lon[place_idx]
    if catalog.items_are_places:
        lat_deg, lon_deg = catalog.item_lat[item_idx], catalog.item_lon[item_idx]
    if not np.isfinite(lat_deg).any():
        return {}
    return {c.LAT: pa.array(lat_deg, from_pandas=True), c.LON: pa.array(lon_deg, from_pandas=True)}


def _item_table(log: EventLog, catalog: Catalog) -> pa.Table:
    """Catalogue of the items that occur."""
    item_idx = np.unique(log.item_idx[log.item_idx > 0])
    event_columns = {
        c.ITEM_ID: pa.array(catalog.items.names(item_idx), pa.string()),
        c.CATEGORY: pa.array(
            catalog.categories.names(catalog.item_category[item_idx]), pa.string()
        ),
    }
    if len(catalog.item_title):
        event_columns[c.TITLE] = pa.array(catalog.item_title[item_idx].tolist(), pa.string())
    if np.isfinite(catalog.item_lat[item_idx]).any():
        event_columns[c.LAT] = pa.array(catalog.item_lat[item_idx], from_pandas=True)
        event_columns[c.LON] = pa.array(catalog.item_lon[item_idx], from_pandas=True)
    return pa.table(event_columns)
