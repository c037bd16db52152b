"""The versions of a lake's tables, for whoever asks again and again."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from chronotope.contracts.data_version import TableVersion
from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors
from chronotope.lake.table_identity import identified

REOPEN_S: Final = 60.0
"""After so long a table in an object store is opened anew: another may have its address."""


@dataclass(frozen=True, slots=True)
class VersionPoller:
    """Asks a lake for its newest versions, one question at a time.

    In an object store, opening a table reads each of its commits; to look for newer ones takes
    two requests, however many there were. Those do not show that another table took the place of
    the one that was opened, so it is opened anew now and then. A folder is opened each time.

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
        """Latest version of a table; None if it was never written.

        Raises:
            StoreError: The store does not answer, or refuses.
        """
        if isinstance(self.lake.root, Path):
            return self.lake.table_version(table_name) if self.lake.exists(table_name) else None
        with translate_store_errors(table_name):
            delta_table, reopen_at = self._opened.get(table_name, (None, 0.0))
            if delta_table is not None and time.monotonic() < reopen_at:
                delta_table.update_incremental()
                return identified(delta_table)
            self._opened.pop(table_name, None)
            try:
                delta_table = DeltaTable(self.lake.address(table_name))
            except TableNotFoundError:
                return None
            self._opened[table_name] = delta_table, time.monotonic() + self.reopen_s
            return identified(delta_table)
