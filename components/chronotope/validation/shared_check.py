"""Check of events whose batches are checked in several processes; their counts add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa

from chronotope.validation.batch_drift import BatchProfile
from chronotope.validation.suite import EventCheck, SuiteBatch, check_events, open_suite


@dataclass(frozen=True, slots=True)
class SharedCheck:
    """What the check of a delivery compares with; a task opens a check of its own from it.

    Attributes:
        suite_path: JSON file of the suite.
        checked_at: Time of the check, with a time zone.
        items_path: Arrow file with the item ids of the lake; None without a catalogue.
        accepted_shares: ``event_type_shares`` of the last accepted version; None if there is none.
        batch_profile: ``profile_rows`` of the last accepted version.
    """

    suite_path: Path
    checked_at: datetime
    items_path: Path | None
    accepted_shares: Mapping[str, float] | None
    batch_profile: BatchProfile | None

    def open(self) -> EventCheck:
        """A check without counts; the suite and the item ids are read once a process."""
        return check_events(
            self.suite_path,
            checked_at=self.checked_at,
            known_items=None if self.items_path is None else _item_ids(self.items_path),
            accepted_shares=self.accepted_shares,
            batch_profile=self.batch_profile,
            get_suite=partial(_suite_batch, self.suite_path, self.suite_path.stat().st_mtime_ns),
        )


def write_item_ids(item_ids: pa.Array, file_path: Path) -> Path:
    """Write item ids for ``SharedCheck``; returns the path.

    Args:
        item_ids: Item ids of the lake.
        file_path: Arrow file to write.
    """
    with pa.OSFile(str(file_path), "wb") as sink:
        ids_table = pa.table({"item_id": item_ids})
        with pa.ipc.new_file(sink, ids_table.schema) as writer:
            writer.write_table(ids_table)
    return file_path


@lru_cache(maxsize=1)
def _item_ids(items_path: Path) -> pa.Array:
    with pa.OSFile(str(items_path), "rb") as source:
        return pa.ipc.open_file(source).read_all().column(0).combine_chunks()


@lru_cache(maxsize=1)
def _suite_batch(suite_path: Path, _modified_ns: int) -> SuiteBatch:
    return open_suite(suite_path)
