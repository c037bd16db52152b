"""Objects of a lake in an object store, as bytes: what is there, whatever a table's log says."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.fs as pafs
from deltalake.fs import DeltaStorageHandler

from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors
from chronotope.lake.table_schemas import TABLE_SCHEMAS


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a table.

    Attributes:
        address: Address in the store.
        content: Its bytes.
    """

    address: str
    content: bytes


def stored_objects(lake: Lake) -> Iterator[StoredObject]:
    """Every object below the tables of a lake, with those of versions that were given up.

    Args:
        lake: Lake in an object store.

    Raises:
        StoreError: The store does not respond, or denies access.
    """
    for table_name in TABLE_SCHEMAS:
        if not lake.exists(table_name):
            continue
        with translate_store_errors(table_name):
            address = lake.address(table_name)
            file_system = pafs.PyFileSystem(DeltaStorageHandler(address))
            for file_info in file_system.get_file_info(pafs.FileSelector("", recursive=True)):
                if file_info.type == pafs.FileType.File:
                    with file_system.open_input_stream(file_info.path) as stream:
                        yield StoredObject(f"{address}/{file_info.path}", stream.read())
