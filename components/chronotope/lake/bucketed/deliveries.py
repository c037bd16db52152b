"""A delivery staged for the number of buckets of the table, and staged again if it changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as pads

from chronotope.lake.bucketed.staged_buckets import StagedBuckets
from chronotope.lake.repeated_rows import RepeatedRows
from chronotope.lake.staged_batch import StagedBatch, staging_folder
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.store_urls import Location

StagedDelivery: TypeAlias = StagedBatch | StagedBuckets
"""Staged events, for a table without buckets or with some."""


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """Row counts of one merge.

    Attributes:
        inserted: Number of rows inserted.
        duplicates: Number of rows whose key was in the table, or earlier in the delivery.
        version: Version of the table after the merge.
        repeated: Rows of a staged delivery that repeat the id of an earlier one.
    """

    inserted: int
    duplicates: int
    version: int
    repeated: RepeatedRows = field(default_factory=RepeatedRows)


@contextmanager
def staged_delivery(
    lake_root: Location, n_buckets: int, shared_dir: Path | None = None
) -> Iterator[StagedDelivery]:
    """Context manager of a delivery; its folder is removed after the block.

    Args:
        lake_root: Folder or address of the lake.
        n_buckets: Number of buckets of the events table.
        shared_dir: Parent of the staging folder of a lake in an object store; None for ``TMPDIR``.
    """
    with staging_folder(lake_root, shared_dir) as folder:
        yield new_delivery(folder, n_buckets)


def stage_rows(delivery: StagedDelivery, event_rows: pa.Table | pads.Dataset) -> None:
    """Stage the rows of a table at once, or those of a dataset batch by batch.

    Args:
        delivery: The delivery.
        event_rows: Rows of events.
    """
    if isinstance(event_rows, pa.Table):
        delivery.add(event_rows)
        return
    for batch in event_rows.to_batches():
        delivery.add(pa.Table.from_batches([batch]))


def extend_delivery(delivery: StagedDelivery, part: StagedDelivery) -> None:
    """Add the batches of a part that was staged elsewhere, in the order of the source.

    Args:
        delivery: The delivery.
        part: A part that was staged for as many buckets.

    Raises:
        SchemaError: A column has another type than in an earlier batch.
        TypeError: The part was staged for another kind of table.
    """
    if isinstance(delivery, StagedBatch) and isinstance(part, StagedBatch):
        delivery.extend(part)
        return
    if isinstance(delivery, StagedBuckets) and isinstance(part, StagedBuckets):
        delivery.extend(part)
        return
    raise TypeError(f"{type(part).__name__} is no part of a {type(delivery).__name__}")


def staged_for(delivery: StagedDelivery, n_buckets: int) -> StagedDelivery:
    """The delivery, staged again if it was staged for another number of buckets.

    Args:
        delivery: The staged events.
        n_buckets: Number of buckets of the events table.

    Raises:
        StoreError: The staged files cannot be read or written.
    """
    if delivery.n_buckets == n_buckets:
        return delivery
    folder = private_folder(delivery.folder / f"again-{uuid4()}")
    staged_again = new_delivery(folder, n_buckets)
    for rows in delivery.batches():
        staged_again.add(rows)
    return staged_again


def new_delivery(folder: Path, n_buckets: int) -> StagedDelivery:
    """A delivery, or a part of one, without rows.

    Args:
        folder: Folder of the staged files.
        n_buckets: Number of buckets of the events table.
    """
    return StagedBatch(folder) if n_buckets == 1 else StagedBuckets(folder, n_buckets)
