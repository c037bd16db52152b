"""Columns of a large log as memory-mapped files, which all processes of a machine share.

They are a cache beside the snapshot: 32 bytes an event on the disk, written by the first process
that loads a large snapshot, verified by every one, and written again after any damage.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import StoreError
from chronotope.runtime.durable_files import file_checksum, read_json, sync_file, write_json
from chronotope.runtime.temp_dirs import temporary_folder

_LOG = logging.getLogger(__name__)

COLUMNS_DIR: Final = "columns"
"""Folder of the files in that of the snapshot."""

MIN_SHARED_EVENTS: Final = 1 << 22
"""Events of a log that is shared; a smaller one is read into memory within half a second."""

MAX_SHARED_LOGS: Final = 2
"""Snapshots of a folder that keep such files: those of the champion and of its successor."""

_META: Final = "columns.json"

ColumnReader = Callable[[], npt.NDArray[Any]]
"""Reads one column into memory."""


def map_columns(
    snapshot_dir: Path, source_checksum: str, column_readers: Mapping[str, ColumnReader]
) -> dict[str, npt.NDArray[Any]]:
    """Read-only columns of a snapshot, mapped from files that are written where they are missing.

    Args:
        snapshot_dir: Folder of the snapshot.
        source_checksum: Checksum of the table that the columns are read from.
        column_readers: Reader of each column by its name.

    Returns:
        The columns by name; in memory if the files cannot be written.
    """
    columns_dir = snapshot_dir / COLUMNS_DIR
    try:
        if not _is_current(columns_dir, source_checksum, column_readers):
            _write_columns(snapshot_dir, source_checksum, column_readers)
            _remove_older(snapshot_dir)
        column_files = _column_files(column_readers)
        return {
            name: np.asarray(np.load(columns_dir / file_name, mmap_mode="r", allow_pickle=False))
            for name, file_name in column_files.items()
        }
    except (OSError, ValueError) as error:
        _LOG.info("The log of %s is read into memory: %s", snapshot_dir, error)
        return {name: read_column() for name, read_column in column_readers.items()}


def _column_files(column_readers: Mapping[str, ColumnReader]) -> dict[str, str]:
    """File of each column; names of context columns may be no file names."""
    return {name: f"column-{number:03d}.npy" for number, name in enumerate(column_readers)}


def _is_current(
    columns_dir: Path, source_checksum: str, column_readers: Mapping[str, ColumnReader]
) -> bool:
    """Whether the files are intact and those of the table."""
    if not (columns_dir / _META).exists():
        return False
    try:
        stored_meta = read_json(columns_dir / _META, subject="The columns of a log", way_out="")
        return bool(
            stored_meta["source"] == source_checksum
            and list(stored_meta["checksums"]) == list(column_readers)
            and all(
                file_checksum(columns_dir / file_name) == stored_meta["checksums"][name]
                for name, file_name in _column_files(column_readers).items()
            )
        )
    except (StoreError, OSError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning("Columns of the log are damaged and are written again: %s", error)
        return False


def _write_columns(
    snapshot_dir: Path, source_checksum: str, column_readers: Mapping[str, ColumnReader]
) -> None:
    """Write all columns, one in memory at a time; they appear at once."""
    columns_dir = snapshot_dir / COLUMNS_DIR
    with temporary_folder(snapshot_dir, ".columns-") as temporary_dir:
        draft_dir = temporary_dir / COLUMNS_DIR
        draft_dir.mkdir()
        column_checksums = {}
        for name, file_name in _column_files(column_readers).items():
            np.save(draft_dir / file_name, column_readers[name](), allow_pickle=False)
            sync_file(draft_dir / file_name)
            column_checksums[name] = file_checksum(draft_dir / file_name)
        write_json(draft_dir / _META, {"source": source_checksum, "checksums": column_checksums})
        # Processes that have mapped the files of before keep them.
        shutil.rmtree(columns_dir, ignore_errors=True)
        try:
            draft_dir.rename(columns_dir)
        except OSError:  # another process was faster
            if not _is_current(columns_dir, source_checksum, column_readers):
                raise


def _remove_older(snapshot_dir: Path) -> None:
    """Remove the files of other snapshots, but for the latest ones; they can be written again."""
    meta_paths = sorted(
        snapshot_dir.parent.glob(f"*/{COLUMNS_DIR}/{_META}"),
        key=lambda path: path.stat().st_mtime_ns,
        reverse=True,
    )
    for meta_path in meta_paths[MAX_SHARED_LOGS:]:
        shutil.rmtree(meta_path.parent, ignore_errors=True)
