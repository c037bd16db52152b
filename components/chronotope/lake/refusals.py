"""What the disk or Delta refuses, said with a way out."""

from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import DeltaError

from chronotope.contracts.errors import StoreError


@contextmanager
def refusals(table: str) -> Iterator[None]:
    """Turn a refusal of the disk or of Delta into an error with a way out."""
    try:
        yield
    except (OSError, DeltaError) as error:
        raise StoreError(
            f"Table {table!r} could not be read or written",
            received=error,
            way_out="Check free disk space, permissions and the version asked for; "
            "the last committed version is whole, and running again is safe",
        ) from error
