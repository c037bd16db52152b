"""Table versions: opened by number or identity, which tells different tables and files apart."""

import hashlib

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.errors import StoreError
from chronotope.lake.store_errors import translate_store_errors


def identify_version(delta_table: DeltaTable) -> TableVersion:
    """Number and identity of an opened table version.

    Delta never rewrites a data file and gives each file a unique name, so the names identify
    the rows. They are relative to the table folder: a copy of the table has the same identity.

    Args:
        delta_table: Table opened at the version.
    """
    file_names = pa.table(delta_table.get_add_actions()).column("path").to_pylist()
    names_digest = hashlib.blake2b(str(delta_table.metadata().id).encode(), digest_size=4)
    for file_name in sorted(file_names):
        names_digest.update(f"\n{file_name}".encode())
    return TableVersion(delta_table.version(), names_digest.hexdigest())


def open_version(
    table_uri: str, table_name: str, version: int | TableVersion | None = None
) -> DeltaTable:
    """Open a table at a version.

    Args:
        table_uri: Path or object store address of the table.
        table_name: Name of the table, for messages.
        version: Version to open; None for the latest.

    Raises:
        StoreError: The table or version does not exist, or the table was replaced.
    """
    number = version.number if isinstance(version, TableVersion) else version
    with translate_store_errors(table_name):
        try:
            delta_table = DeltaTable(table_uri, version=number)
        except TableNotFoundError as error:
            raise _missing_version(table_uri, table_name, version) from error
        present_version = (
            identify_version(delta_table) if isinstance(version, TableVersion) else version
        )
    if present_version != version:
        raise StoreError(
            f"Table {table_name!r} was replaced: the version has other rows now",
            received=f"{table_uri}: version {present_version}, expected {version}",
            way_out="Run again to read the present table",
        )
    return delta_table


def _missing_version(
    table_uri: str, table_name: str, version: int | TableVersion | None
) -> StoreError:
    try:
        latest_version = None if version is None else DeltaTable(table_uri).version()
    except TableNotFoundError:
        latest_version = None
    if latest_version is not None:
        return StoreError(
            f"Version {version} of table {table_name!r} does not exist any more",
            received=f"{table_uri}, whose latest version is {latest_version}",
            way_out="Use a later version, or restore the table's _delta_log folder",
        )
    return StoreError(
        f"Table {table_name!r} has not been written yet",
        received=table_uri,
        way_out="Ingest the dataset first: chronotope ingest DATASET",
    )
