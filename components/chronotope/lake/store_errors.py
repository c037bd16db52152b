"""Translation of errors of the disk, the object store and Delta into ``StoreError``."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
from deltalake.exceptions import DeltaError

from chronotope.contracts.errors import StoreError

_DISK_FULL: Final = re.compile(
    r"no space left on device|disk quota exceeded|file too large|\b(errno|os error) (28|27|122)\b",
    re.IGNORECASE,
)
_DISK_FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""A full disk, a full quota, and the limit of a file's size."""

_COLOURS: Final = re.compile(r"\x1b\[\d+m")
"""ANSI colours in error messages of object stores."""

_RUST_TRACE: Final = re.compile(r"\n\s*0: .*", re.DOTALL)
"""Rust stack trace that Delta appends to its messages."""

_BROKEN_LOG: Final = re.compile(
    r"json error|invalid checkpoint|contiguous commit|no table metadata|arrow error|"
    r"parquet|corrupt|panic",
    re.IGNORECASE,
)
_REPAIR: Final = (
    "`chronotope doctor` lists damaged files; `chronotope doctor --repair` returns to the "
    "newest readable version and deletes nothing"
)
_LOOK: Final = (
    "Check permissions and the requested version, or that the object store responds; "
    "the last committed version is intact, and running again is safe"
)
_FREE_SPACE: Final = (
    "Free disk space (`chronotope doctor` shows how much is free); "
    "the last committed version is intact, and running again is safe"
)


@contextmanager
def translate_store_errors(table_name: str) -> Iterator[None]:
    """Translate errors of the disk, the object store or Delta that the block raises.

    Args:
        table_name: The table that is read or written.

    Raises:
        StoreError: The block raised such an error, or a panic of Delta's Rust library.
    """
    try:
        yield
    except BaseException as error:  # a Rust panic does not derive from Exception
        if not isinstance(error, (OSError, DeltaError, pa.ArrowInvalid)) and not _is_panic(error):
            raise
        error_text = " ".join(_COLOURS.sub("", _RUST_TRACE.sub("", str(error))).split())
        if getattr(error, "errno", None) in _DISK_FULL_ERRNOS or _DISK_FULL.search(error_text):
            raise StoreError(
                f"The disk is full; table {table_name!r} could not be read or written",
                received=error_text,
                way_out=_FREE_SPACE,
            ) from error
        is_broken = _is_panic(error) or bool(_BROKEN_LOG.search(error_text))
        raise StoreError(
            f"Table {table_name!r} could not be read or written",
            received=error_text,
            way_out=_REPAIR if is_broken else _LOOK,
        ) from error


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"
