"""What tells a version of a table from every other one, also of another table."""

import hashlib

import pyarrow as pa
from deltalake import DeltaTable

from chronotope.contracts.data_version import TableVersion


def identified(table: DeltaTable) -> TableVersion:
    """Number and identity of an opened version.

    Delta never writes to a data file again and gives each a name of its own, so the names tell
    the rows. They are relative to the table: a copy elsewhere has the same identity.

    Args:
        table: A table, opened at the version.
    """
    names = pa.table(table.get_add_actions()).column("path").to_pylist()
    digest = hashlib.blake2b(str(table.metadata().id).encode(), digest_size=4)
    for name in sorted(names):
        digest.update(f"\n{name}".encode())
    return TableVersion(table.version(), digest.hexdigest())
