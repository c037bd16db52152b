"""A delivery on its way into the events table: staged as the table's own files.

Where the table lies in an object store, they are staged on this machine and written to the table
from there: a store can't rename, and only a commit makes what was written part of the table.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, PostCommitHookProperties, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from chronotope.contracts import columns as c
from chronotope.contracts.errors import SchemaError
from chronotope.contracts.schemas import EVENTS
from chronotope.lake.row_conformance import (
    conform_rows,
    conformed_schema,
    first_occurrence_mask,
    key_hashes,
    repeated_positions,
)
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.store_urls import Location
from chronotope.runtime.temp_dirs import temporary_folder

Mask = npt.NDArray[np.bool_]

FIRST: Final = CommitProperties(max_commit_retries=0)
"""Of a commit that makes a table. Tried again, it would add its rows to those of whoever was
faster, as the second version, and nobody would have looked for equal keys."""

ALL_VERSIONS: Final = {"delta.enableExpiredLogCleanup": "false"}
"""Configuration of a new table: no writer removes versions by their age. Delta's default is to
drop those older than 30 days with every hundredth commit, and trainings name versions."""

NO_CLEANUP: Final = PostCommitHookProperties(cleanup_expired_logs=False)
"""The same of a single commit, for tables that were made without that configuration."""

_PREFIX: Final = ".staging-"
_PREFIX_IN_TMP: Final = "chronotope-staging-"
_ENCODED: Final = (c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.UTC_OFFSET_MIN, c.PLACE_ID, c.SESSION_ID)
"""Columns whose values repeat; a dictionary of the others would only cost time."""


@dataclass(slots=True)
class StagedBatch:
    """Rows staged batch by batch; of each row 8 bytes stay in memory, for its id.

    Attributes:
        folder: Where the files lie: on the lake's own disk if it has one.
        schema: Columns of all batches so far.
        paths: One Parquet file a batch.
    """

    folder: Path
    schema: pa.Schema = EVENTS
    paths: list[Path] = field(default_factory=list)
    _ids: list[npt.NDArray[np.uint64]] = field(default_factory=list)

    def add(self, rows: pa.Table) -> None:
        """Stage a batch of events.

        Raises:
            SchemaError: A required column is missing or null, or batches disagree on a type.
            StoreError: The disk refused.
        """
        schema = conformed_schema(rows.schema, EVENTS)
        try:
            self.schema = pa.unify_schemas([self.schema, schema])
        except pa.ArrowTypeError as error:
            raise SchemaError(
                "A column changes its type within the delivery",
                received=error,
                way_out="Map it to one type in the dataset's YAML",
            ) from error
        table = conform_rows(rows, schema)
        self._ids.append(key_hashes(table.column(c.EVENT_ID)))
        path = self.folder / f"good-{len(self.paths):06d}.parquet"
        with translate_store_errors("events"):
            write_rows(table, path)
        self.paths.append(path)

    def dataset(self) -> pads.Dataset:
        """The staged rows, to scan."""
        return pads.dataset([str(path) for path in self.paths], schema=self.schema)

    def n_rows(self) -> int:
        """Rows staged, repeated ones included."""
        return sum(len(ids) for ids in self._ids)

    def keep(self) -> Mask | None:
        """Mask of the first row of each id over all files; None when none repeats."""
        suspects = repeated_positions(np.concatenate([np.empty(0, np.uint64), *self._ids]))
        if not len(suspects):
            return None
        ids = self.dataset().take(pa.array(suspects), columns=[c.EVENT_ID]).column(0)
        first = first_occurrence_mask(ids)
        mask = np.ones(self.n_rows(), dtype=np.bool_)
        if first is not None:
            mask[suspects] = first
        return mask

    def leave_out_repeated(self) -> int:
        """Rewrite the files that hold an id a second time; returns the rows left."""
        keep, start = self.keep(), 0
        if keep is None:
            return self.n_rows()
        for path, ids in zip(self.paths, self._ids, strict=True):
            mine = keep[start : start + len(ids)]
            start += len(ids)
            if not mine.all():
                write_rows(pq.read_table(path).filter(pa.array(mine)), path)
        return int(keep.sum())


def write_rows(table: pa.Table, path: Path) -> None:
    """Write a Parquet file, encoding as dictionaries only what repeats."""
    encoded = [name for name in table.column_names if name in _ENCODED]
    pq.write_table(table, path, use_dictionary=encoded, compression="snappy")


def commit_first_version(delivery: StagedBatch, table: Path) -> None:
    """Make the staged files the first version of a table, in one commit."""
    private_folder(table)
    moved: list[Path] = []
    actions: list[AddAction] = []
    try:
        for path in delivery.paths:
            target = table / f"part-{len(moved):05d}-{uuid4()}.snappy.parquet"
            moved.append(path.rename(target))
            actions.append(_added(target))
        schema = Schema.from_arrow(delivery.schema)
        create_table_with_add_actions(
            str(table),
            schema,
            actions,
            mode="error",
            configuration=ALL_VERSIONS,
            commit_properties=FIRST,
        )
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise


def _added(path: Path) -> AddAction:
    rows = pq.read_metadata(path).num_rows
    return AddAction(
        path=path.name,
        size=path.stat().st_size,
        partition_values={},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": rows}),
    )


@contextmanager
def staging_folder(root: Location) -> Iterator[StagedBatch]:
    """A folder for one delivery; what killed deliveries left behind is removed first.

    Args:
        root: The lake. For one in an object store the folder lies below ``TMPDIR``.
    """
    prefix = _PREFIX if isinstance(root, Path) else _PREFIX_IN_TMP
    above = root if isinstance(root, Path) else Path(tempfile.gettempdir())
    folders = ExitStack()
    with translate_store_errors("events"):
        folder = folders.enter_context(temporary_folder(above, prefix))
    with folders:
        yield StagedBatch(folder)
