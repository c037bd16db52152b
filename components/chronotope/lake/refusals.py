"""What the disk, the object store or Delta refuses, said with a way out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from deltalake.exceptions import DeltaError

from chronotope.contracts.errors import StoreError

_COLOURS: Final = re.compile(r"\x1b\[\d+m")
"""An object store's refusal is a coloured tree of several lines."""


@contextmanager
def refusals(table: str) -> Iterator[None]:
    """Turn a refusal of the disk, the store or Delta into an error with a way out."""
    try:
        yield
    except (OSError, DeltaError) as error:
        raise StoreError(
            f"Table {table!r} could not be read or written",
            received=" ".join(_COLOURS.sub("", str(error)).split()),
            way_out="Check free disk space, permissions and the version asked for, or that the "
            "object store answers; the last committed version is whole, and running again is safe",
        ) from error
