"""What lies where lakes lie: below a folder, or below a prefix of an object store."""

from pathlib import Path
from typing import Final

from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.store_urls import Location

_IMPATIENT: Final = {"max_retries": "2", "retry_timeout": "20s", "timeout": "10s"}
"""Whoever asks what there is wants to know soon that a store does not answer."""


def list_datasets(lakes: Location) -> tuple[str, ...]:
    """Names of the datasets that were ingested, sorted.

    Args:
        lakes: Where the lakes of all datasets lie.

    Raises:
        StoreError: The store does not answer, or refuses.
    """
    if isinstance(lakes, Path):
        return tuple(sorted(path.name for path in lakes.glob("*") if path.is_dir()))
    with translate_store_errors("events"):
        store = fs.PyFileSystem(DeltaStorageHandler(lakes, _IMPATIENT))
        found = store.get_file_info(fs.FileSelector("", recursive=False))
    return tuple(sorted(each.base_name for each in found if each.type == fs.FileType.Directory))
