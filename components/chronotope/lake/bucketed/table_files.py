"""Files of a table as a filesystem, on a disk or in an object store, for tasks on any machine."""

import json
import time
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction

from chronotope.contracts import columns as c
from chronotope.runtime.store_urls import Location


def open_folder(location: Location) -> pafs.FileSystem:
    """Filesystem whose paths are relative to a folder.

    Args:
        location: A local folder, or an address in an object store.
    """
    if isinstance(location, Path):
        return pafs.SubTreeFileSystem(str(location), pafs.LocalFileSystem())
    return pafs.PyFileSystem(DeltaStorageHandler(location))


def paths_by_bucket(delta_table: DeltaTable) -> dict[int, tuple[str, ...]]:
    """Paths of the files of each bucket below the table's folder, sorted.

    Args:
        delta_table: An events table with buckets, at a version.
    """
    add_actions = pa.table(delta_table.get_add_actions(flatten=True))
    paths: dict[int, list[str]] = {}
    for file_path, bucket in zip(
        add_actions.column("path").to_pylist(),
        add_actions.column(f"partition.{c.USER_BUCKET}").to_pylist(),
        strict=True,
    ):
        paths.setdefault(int(bucket), []).append(unquote(file_path))
    return {bucket: tuple(sorted(bucket_paths)) for bucket, bucket_paths in paths.items()}


def add_action(file_path: str, bucket: int, n_bytes: int, n_rows: int) -> AddAction:
    """Action of a commit that adds a file to a bucket.

    Args:
        file_path: Path below the table's folder.
        bucket: Bucket of its rows.
        n_bytes: Size of the file.
        n_rows: Number of its rows.
    """
    return AddAction(
        path=file_path,
        size=n_bytes,
        partition_values={c.USER_BUCKET: str(bucket)},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": n_rows}),
    )
