"""Polling of a lake for the latest versions of its tables."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from chronotope.contracts.data_version import TableVersion
from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors
from chronotope.lake.table_identity import identify_version

REOPEN_S: Final = 60.0
"""Default interval in seconds after which a table in an object store is opened anew."""


@dataclass(frozen=True, slots=True)
class VersionPoller:
    """Poller of the latest table versions of a lake; not thread-safe.

    In an object store, opening a table reads all its commits, whereas an update of an open table
    takes two requests. An update does not notice that the table was replaced by another one, so
    the table is opened anew at intervals. A table in a local folder is opened on every poll.

    Attributes:
        lake: The lake.
        reopen_s: Seconds after which a table in an object store is opened anew.
    """

    lake: Lake
    reopen_s: float = REOPEN_S
    _opened: dict[str, tuple[DeltaTable, float]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def version(self, table_name: str) -> TableVersion | None:
        """Latest version of a table; None if the table does not exist.

        Raises:
            StoreError: The object store does not respond, or denies access.
        """
        if isinstance(self.lake.root, Path):
            return self.lake.table_version(table_name) if self.lake.exists(table_name) else None
        with translate_store_errors(table_name):
            delta_table, reopen_at = self._opened.get(table_name, (None, 0.0))
            if delta_table is not None and time.monotonic() < reopen_at:
                delta_table.update_incremental()
                return identify_version(delta_table)
            self._opened.pop(table_name, None)
            try:
                delta_table = DeltaTable(self.lake.address(table_name))
            except TableNotFoundError:
                return None
            self._opened[table_name] = delta_table, time.monotonic() + self.reopen_s
            return identify_version(delta_table)
