"""What tells a version of a table from every other one, also of another table."""

import hashlib

import pyarrow as pa
from deltalake import DeltaTable

from chronotope.contracts.data_version import TableVersion


def identified(delta_table: DeltaTable) -> TableVersion:
    """Number and identity of an opened version.

    Delta never writes to a data file again and gives each a name of its own, so the names tell
    the rows. They are relative to the table: a copy elsewhere has the same identity.

    Args:
        delta_table: A table, opened at the version.
    """
    file_names = pa.table(delta_table.get_add_actions()).column("path").to_pylist()
    names_digest = hashlib.blake2b(str(delta_table.metadata().id).encode(), digest_size=4)
    for file_name in sorted(file_names):
        names_digest.update(f"\n{file_name}".encode())
    return TableVersion(delta_table.version(), names_digest.hexdigest())
