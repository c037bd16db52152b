"""Objects of an object store, as bytes: those of a lake's tables, and of a prefix beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

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


SCORING_PREFIX: Final = "_scoring"
"""Prefix below a dataset's tables for batch predictions on their way; no table has this name."""


@dataclass(frozen=True, slots=True)
class StoredFolder:
    """Prefix of an object store, with the credentials of the environment.

    Attributes:
        address: Address of the prefix, such as ``s3://shop/lake/city/_scoring``.

    Raises:
        StoreError: Of each method: the store does not respond, or denies access.
    """

    address: str

    def object_names(self, folder_name: str = "") -> list[str]:
        """Names of the objects below a folder, relative to it, sorted."""
        with self._file_system() as file_system:
            selector = pafs.FileSelector(folder_name, recursive=True, allow_not_found=True)
            infos = file_system.get_file_info(selector)
        prefix = f"{folder_name}/" if folder_name else ""
        paths = [info.path for info in infos if info.type == pafs.FileType.File]
        return sorted(path.removeprefix(prefix) for path in paths)

    def write_object(self, name: str, content: bytes) -> None:
        """Write an object; an earlier one is replaced."""
        with translate_store_errors(self.address):
            # pyarrow's stream would pass a Buffer, which deltalake's writer refuses
            stream = DeltaStorageHandler(self.address)._handler.open_output_stream(name, None)
            stream.write(content)
            stream.close()  # type: ignore[attr-defined]

    def read_object(self, name: str) -> bytes:
        """Content of an object."""
        with self._file_system() as file_system, file_system.open_input_stream(name) as stream:
            content: bytes = stream.read()
        return content

    def delete_object(self, name: str) -> None:
        """Delete an object."""
        with self._file_system() as file_system:
            file_system.delete_file(name)

    def clear_objects(self) -> None:
        """Delete every object of the prefix."""
        for name in self.object_names():
            self.delete_object(name)

    @contextmanager
    def _file_system(self) -> Iterator[pafs.FileSystem]:
        with translate_store_errors(self.address):
            yield pafs.PyFileSystem(DeltaStorageHandler(self.address))
