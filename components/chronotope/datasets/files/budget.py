"""Limits on the decompressed size and the width of a source."""

from typing import Final

from chronotope.contracts.errors import SourceError

FREE_BYTES: Final = 1 << 30
"""Decompressed size up to which the expansion ratio is not limited, bytes."""

MAX_EXPANSION: Final = 200
"""Maximum ratio of decompressed to stored size above ``FREE_BYTES``.

Event logs expand by 3 to 30, decompression bombs by 1,000.
"""

MAX_BATCH_BYTES: Final = 256 << 20
"""Maximum size of a batch in memory, bytes; a larger one is split, however few rows it has."""

MAX_COLUMNS: Final = 10_000
"""Maximum number of columns of a source."""


class ByteBudget:
    """Number of bytes that a source may still expand to.

    Attributes:
        limit: Maximum decompressed size of the source, bytes.
    """

    def __init__(self, n_stored: int, max_bytes: int) -> None:
        """Set the budget from the stored size.

        Args:
            n_stored: Stored (compressed) size of the source, bytes.
            max_bytes: ``limits.max_bytes`` of the dataset's YAML.
        """
        self.limit = min(max_bytes, max(FREE_BYTES, MAX_EXPANSION * n_stored))
        self._left, self._n_stored = self.limit, n_stored

    @property
    def n_spent(self) -> int:
        """Number of bytes spent so far."""
        return self.limit - self._left

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
                way_out="The file may be damaged or a decompression bomb; if it is neither, store "
                "it uncompressed or in several files, or raise limits.max_bytes if that is the "
                "limit",
            )
