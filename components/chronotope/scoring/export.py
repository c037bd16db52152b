"""Copies of the predictions table: a Parquet or CSV file, or a table of a database."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.predictions import (
    INTERNAL_COLUMNS,
    PLACES,
    PREDICTIONS,
    PREDICTIONS_TABLE,
)
from chronotope.lake import Lake
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.durable_files import replacing
from chronotope.scoring.sql_export import SqlTarget

EXPORTED: Final = pa.schema([field for field in PREDICTIONS if field.name not in INTERNAL_COLUMNS])
"""Schema of a Parquet copy."""

FLAT: Final = pa.schema(
    [pa.field(PLACES, pa.string()) if field.name == PLACES else field for field in EXPORTED]
)
"""Schema of CSV and SQL copies, with the places as JSON text."""

_BATCH_ROWS: Final = 50_000


class ExportTarget(Protocol):
    """Place of a copy, which is replaced as a whole."""

    @property
    def label(self) -> str:
        """Path or address for display, without a password."""

    def check(self) -> None:
        """Check that the copy can be written, before hours of scoring."""

    def write(self, rows: Iterator[pa.RecordBatch]) -> int:
        """Replace the copy; returns the number of rows."""


def parse_target(out: str, sql_table: str) -> ExportTarget:
    """Target of a copy.

    Args:
        out: Path that ends in .parquet or .csv, or a SQLAlchemy URL.
        sql_table: Name of the table in a database.

    Raises:
        ConfigError: It is neither, or the path lies outside the folders that flows may use.
        SourceError: A $VARIABLE of the URL is not set.
    """
    if "://" in out or out.startswith("$"):
        return SqlTarget.parse(out, sql_table, FLAT)
    file_path = Path(out)
    if file_path.suffix.lower() not in {".parquet", ".csv"}:
        raise ConfigError(
            "The format of the copy cannot be told from its name",
            received=out,
            way_out="Write a path that ends in .parquet or .csv, or a SQLAlchemy URL such as "
            "postgresql://user:$PASSWORD@host/shop",
        )
    return FileTarget(require_allowed_path(file_path))


@dataclass(frozen=True, slots=True)
class FileTarget:
    """Parquet or CSV file, by the ending of its name."""

    path: Path

    @property
    def label(self) -> str:
        """Path of the file."""
        return str(self.path)

    def check(self) -> None:
        """Check that the folder exists and can be written.

        Raises:
            ConfigError: It cannot, or the path is a folder.
        """
        folder = self.path.parent
        problem = ""
        if not folder.is_dir():
            problem = "its folder does not exist"
        elif self.path.is_dir():
            problem = "it is a folder"
        elif not os.access(folder, os.W_OK | os.X_OK):
            problem = "its folder cannot be written by this user"
        if problem:
            raise ConfigError(
                f"The copy of the predictions cannot be written: {problem}",
                received=self.path,
                way_out="Create the folder or choose another path",
            )

    def write(self, rows: Iterator[pa.RecordBatch]) -> int:
        """Write the file; it appears at once, complete.

        Raises:
            StoreError: The disk is full, or the file cannot be written.
        """
        n_rows = 0
        with translate_file_errors(self.path), replacing(self.path) as draft_path:
            is_csv = self.path.suffix.lower() == ".csv"
            writer = (
                pacsv.CSVWriter(str(draft_path), FLAT)
                if is_csv
                else pq.ParquetWriter(str(draft_path), EXPORTED, compression="zstd")
            )
            with writer:
                for batch in rows:
                    writer.write_batch(flatten_places(batch) if is_csv else batch)
                    n_rows += len(batch)
        return n_rows


def exported_rows(lake: Lake, user_ids: pa.Array | None) -> Iterator[pa.RecordBatch]:
    """Rows of the present table without internal columns.

    Args:
        lake: The dataset's lake.
        user_ids: Users to export; None exports all.

    Raises:
        StoreError: The table cannot be read.
    """
    if not lake.exists(PREDICTIONS_TABLE):
        return
    with translate_store_errors(PREDICTIONS_TABLE):
        batches = lake.dataset(PREDICTIONS_TABLE).to_batches(
            columns=EXPORTED.names, batch_size=_BATCH_ROWS
        )
        for record_batch in batches:
            batch = record_batch.cast(EXPORTED)
            if user_ids is not None:
                batch = batch.filter(pc.is_in(batch[c.USER_ID], value_set=user_ids))
            if len(batch):
                yield batch


def flatten_places(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its places as JSON text; one text for each user, repeated for its ranks."""
    user_codes = pc.dictionary_encode(batch[c.USER_ID]).indices.to_numpy()
    starts_user = np.ones(len(batch), np.bool_)
    starts_user[1:] = user_codes[1:] != user_codes[:-1]
    first_rows = pa.array(np.flatnonzero(starts_user))
    texts = [json.dumps(places) for places in batch[PLACES].take(first_rows).to_pylist()]
    user_rows = pa.array(np.cumsum(starts_user) - 1)
    columns = [
        pa.array(texts, pa.string()).take(user_rows) if name == PLACES else batch[name]
        for name in FLAT.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=FLAT)


@contextmanager
def translate_file_errors(file_path: Path) -> Iterator[None]:
    """Translate errors of the disk that the block raises.

    Raises:
        StoreError: The block raised such an error.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            "The copy of the predictions could not be written",
            received=f"{file_path}: {error}",
            way_out="Check free disk space and permissions; the table in the lake is complete, "
            "so running again only writes the copy",
        ) from error
