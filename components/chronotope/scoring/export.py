"""Copies of the predictions table: a Parquet or CSV file, or a table of a database."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.durable_files import replacing
from chronotope.scoring.exported_rows import EXPORTED, FLAT, flatten_places
from chronotope.scoring.sql_export import SqlTarget


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
        return SqlTarget.parse(out, sql_table)
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
        problem_text = ""
        if not folder.is_dir():
            problem_text = "its folder does not exist"
        elif self.path.is_dir():
            problem_text = "it is a folder"
        elif not os.access(folder, os.W_OK | os.X_OK):
            problem_text = "its folder cannot be written by this user"
        if problem_text:
            raise ConfigError(
                f"The copy of the predictions cannot be written: {problem_text}",
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
