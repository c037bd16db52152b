"""Identity of a table version, distinct for different tables and different data files."""

import hashlib

import pyarrow as pa
from deltalake import DeltaTable

from chronotope.contracts.data_version import TableVersion


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
