"""Validation of a delivery of events: the suite, and the lake's rows to compare with."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.protocols import RowCheck
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import ingest_item_context
from chronotope.lake import Lake
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE
from chronotope.pipelines.results import SourceLines, TableCounts
from chronotope.validation import (
    BatchProfile,
    SharedCheck,
    check_events,
    check_table,
    derive_item_context_columns,
    event_type_shares,
    profile_rows,
    write_item_ids,
)

_ITEM_IDS: Final = "item-ids.arrow"
_PROFILE_COLUMNS: Final = [c.OCCURRED_AT, c.UTC_OFFSET_MIN, c.VALUE, c.LAT, c.LON]


def batch_check(lake: Lake, suites: Path) -> RowCheck:
    """Check of the rows of one delivery, and of the delivery as a whole.

    Args:
        lake: Rows that were accepted before.
        suites: Folder of the validation suites.
    """
    accepted_shares, batch_profile = _accepted_events(lake)
    return check_events(
        suites / "events.json",
        checked_at=datetime.now(UTC),
        known_items=catalog_item_ids(lake),
        accepted_shares=accepted_shares,
        batch_profile=batch_profile,
    )


def shared_check(lake: Lake, suites: Path, folder: Path) -> SharedCheck:
    """``batch_check`` for tasks in several processes.

    Args:
        lake: Rows that were accepted before.
        suites: Folder of the validation suites.
        folder: Folder that the tasks can read, for the ids of the items.
    """
    accepted_shares, batch_profile = _accepted_events(lake)
    item_ids = catalog_item_ids(lake)
    return SharedCheck(
        suite_path=(suites / "events.json").resolve(),
        checked_at=datetime.now(UTC),
        items_path=None if item_ids is None else write_item_ids(item_ids, folder / _ITEM_IDS),
        accepted_shares=accepted_shares,
        batch_profile=batch_profile,
    )


def _accepted_events(lake: Lake) -> tuple[dict[str, float] | None, BatchProfile]:
    """Shares of event types and profile of the rows that were accepted before."""
    items = lake.read("items") if lake.exists("items") else None
    if not lake.exists("events"):
        return None, profile_rows(iter(()), items=items)
    events = lake.dataset("events")
    profile = profile_rows(
        events.to_batches(columns=_PROFILE_COLUMNS),
        items=items,
        n_last=lake.n_added_rows("events"),
    )
    return event_type_shares(events), profile


def catalog_item_ids(lake: Lake) -> pa.Array | None:
    """Ids of the catalogue; None without a catalogue."""
    if not lake.exists("items"):
        return None
    return lake.read("items", columns=[c.ITEM_ID]).column(0).combine_chunks()


def item_context_counts(
    dataset_spec: DatasetSpec,
    lake: Lake,
    suites: Path,
    *,
    run_id: str,
    batch_rows: int,
    posted_path: Path,
) -> dict[str, TableCounts]:
    """Ingest the item context; row counts by table, none if the dataset has none.

    Args:
        dataset_spec: The dataset.
        lake: Destination of valid and refused rows.
        suites: Folder of the validation suites.
        run_id: Id of the delivery.
        batch_rows: Rows of a batch.
        posted_path: Log of the rows that were posted to a service.
    """
    if dataset_spec.item_context is None:
        return {}
    suite_path = suites / "item_context.json"
    table_report, source_report = ingest_item_context(
        dataset_spec,
        row_check=check_table(suite_path, derive=derive_item_context_columns),
        lake=lake,
        run_id=run_id,
        batch_rows=batch_rows,
        posted_path=posted_path,
    )
    source_lines = SourceLines.from_report(source_report)
    return {ITEM_CONTEXT_TABLE: TableCounts(**asdict(table_report), lines=source_lines)}
