"""Limits on the decompressed size of a file."""

from typing import Final

from chronotope.contracts.errors import SourceError

FREE_BYTES: Final = 1 << 30
"""Up to this, a file may expand as it likes."""

MAX_EXPANSION: Final = 200
"""Beyond, by so much: texts of logs expand 3 to 30 times; what is made to fill memory, 1,000."""

MAX_BATCH_BYTES: Final = 256 << 20
"""A batch in memory is cut where it would be larger, however few rows it has."""

MAX_COLUMNS: Final = 10_000


class ByteBudget:
    """Remaining bytes that a source may expand to."""

    def __init__(self, n_stored: int, max_bytes: int) -> None:
        """Set the budget from the stored size.

        Args:
            n_stored: Stored size, bytes.
            max_bytes: Limit of the dataset's YAML, bytes.
        """
        self.limit = min(max_bytes, max(FREE_BYTES, MAX_EXPANSION * n_stored))
        self._left, self._n_stored = self.limit, n_stored

    def spend(self, n_bytes: int) -> None:
        """Deduct bytes before they are decompressed.

        Raises:
            SourceError: The budget is exceeded.
        """
        self._left -= n_bytes
        if self._left < 0:
            raise SourceError(
                f"The file expands to more than {self.limit:,} bytes",
                received=f"{self._n_stored:,} bytes",
                way_out="It may be damaged or made to fill memory; deliver it in several files, "
                "uncompressed, or raise limits: max_bytes if that is what bounds it",
            )
