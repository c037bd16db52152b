"""The check of a delivery of events: the suite, and what the lake holds to compare with."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.protocols import RowCheck
from chronotope.lake import Lake
from chronotope.validation import check_events, event_type_shares, profile_rows

_PROFILED: Final = [c.OCCURRED_AT, c.UTC_OFFSET_MIN, c.VALUE, c.LAT, c.LON]


def batch_check(lake: Lake, suites: Path) -> RowCheck:
    """Judge the rows of one delivery, and the delivery as a whole.

    Args:
        lake: What was accepted before.
        suites: Folder of the validation suites.
    """
    items = lake.read("items") if lake.exists("items") else None
    mix, seen, n_last = None, iter(()), 0
    if lake.exists("events"):
        mix = event_type_shares(lake.read("events", columns=[c.EVENT_TYPE]))
        seen, n_last = lake.dataset("events").to_batches(columns=_PROFILED), lake.n_last("events")
    return check_events(
        suites / "events.json",
        now=datetime.now(UTC),
        known_items=catalog_item_ids(lake),
        accepted=mix,
        profile=profile_rows(seen, items=items, n_last=n_last),
    )


def catalog_item_ids(lake: Lake) -> pa.Array | None:
    """Ids of the catalogue; None if there is none."""
    if not lake.exists("items"):
        return None
    return lake.read("items", columns=[c.ITEM_ID]).column(0).combine_chunks()
