"""Validation of a delivery of events: the suite, and the lake's rows to compare with."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.protocols import RowCheck
from chronotope.lake import Lake
from chronotope.validation import check_events, event_type_shares, profile_rows

_PROFILE_COLUMNS: Final = [c.OCCURRED_AT, c.UTC_OFFSET_MIN, c.VALUE, c.LAT, c.LON]


def batch_check(lake: Lake, suites: Path) -> RowCheck:
    """Check of the rows of one delivery, and of the delivery as a whole.

    Args:
        lake: Rows that were accepted before.
        suites: Folder of the validation suites.
    """
    items = lake.read("items") if lake.exists("items") else None
    accepted_shares, accepted_batches, n_last = None, iter(()), 0
    if lake.exists("events"):
        accepted_shares = event_type_shares(lake.read("events", columns=[c.EVENT_TYPE]))
        accepted_batches = lake.dataset("events").to_batches(columns=_PROFILE_COLUMNS)
        n_last = lake.n_added_rows("events")
    return check_events(
        suites / "events.json",
        checked_at=datetime.now(UTC),
        known_items=catalog_item_ids(lake),
        accepted_shares=accepted_shares,
        batch_profile=profile_rows(accepted_batches, items=items, n_last=n_last),
    )


def catalog_item_ids(lake: Lake) -> pa.Array | None:
    """Ids of the catalogue; None without a catalogue."""
    if not lake.exists("items"):
        return None
    return lake.read("items", columns=[c.ITEM_ID]).column(0).combine_chunks()
