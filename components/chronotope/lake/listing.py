"""What lies where lakes lie: below a folder, or below a prefix of an object store."""

from pathlib import Path
from typing import Final

from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.store_urls import Location

_IMPATIENT: Final = {"max_retries": "2", "retry_timeout": "20s", "timeout": "10s"}
"""Whoever asks what there is wants to know soon that a store does not answer."""


def list_datasets(lakes_root: Location) -> tuple[str, ...]:
    """Names of the datasets that were ingested, sorted.

    Args:
        lakes_root: Where the lakes of all datasets lie.

    Raises:
        StoreError: The store does not answer, or refuses.
    """
    if isinstance(lakes_root, Path):
        return tuple(
            sorted(dataset_dir.name for dataset_dir in lakes_root.glob("*") if dataset_dir.is_dir())
        )
    with translate_store_errors("events"):
        store_filesystem = fs.PyFileSystem(DeltaStorageHandler(lakes_root, _IMPATIENT))
        file_infos = store_filesystem.get_file_info(fs.FileSelector("", recursive=False))
    return tuple(
        sorted(
            file_info.base_name
            for file_info in file_infos
            if file_info.type == fs.FileType.Directory
        )
    )
