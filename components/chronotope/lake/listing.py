"""List of the datasets that have a lake, in a folder or in an object store."""

from pathlib import Path
from typing import Final

from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.store_urls import Location

_SHORT_TIMEOUTS: Final = {"max_retries": "2", "retry_timeout": "20s", "timeout": "10s"}
"""Object store options that report an unreachable store within seconds instead of minutes."""


def list_datasets(lakes_root: Location) -> tuple[str, ...]:
    """Names of the ingested datasets, sorted.

    Args:
        lakes_root: Folder or address that contains the lakes of all datasets.

    Raises:
        StoreError: The object store does not respond, or denies access.
    """
    if isinstance(lakes_root, Path):
        return tuple(
            sorted(dataset_dir.name for dataset_dir in lakes_root.glob("*") if dataset_dir.is_dir())
        )
    with translate_store_errors("events"):
        store_filesystem = fs.PyFileSystem(DeltaStorageHandler(lakes_root, _SHORT_TIMEOUTS))
        file_infos = store_filesystem.get_file_info(fs.FileSelector("", recursive=False))
    return tuple(
        sorted(
            file_info.base_name
            for file_info in file_infos
            if file_info.type == fs.FileType.Directory
        )
    )
