"""The versions of a lake's tables, for whoever asks again and again."""

from dataclasses import dataclass, field
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from chronotope.lake.refusals import refusals
from chronotope.lake.store import Lake


@dataclass(frozen=True, slots=True)
class Following:
    """Asks a lake for its newest versions, one question at a time.

    In an object store, opening a table reads each of its commits; to look for newer ones takes
    two requests, however many there were. A folder is opened anew each time.

    Attributes:
        lake: The lake.
    """

    lake: Lake
    _opened: dict[str, DeltaTable] = field(default_factory=dict, repr=False, compare=False)

    def version(self, table: str) -> int | None:
        """Latest version of a table; None if it was never written.

        Raises:
            StoreError: The store does not answer, or refuses.
        """
        if isinstance(self.lake.root, Path):
            return self.lake.version(table) if self.lake.exists(table) else None
        with refusals(table):
            if table in self._opened:
                self._opened[table].update_incremental()
            else:
                try:
                    self._opened[table] = DeltaTable(self.lake.address(table))
                except TableNotFoundError:
                    return None
        return self._opened[table].version()
