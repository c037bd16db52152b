"""What the disk, the object store or Delta refuses, said with a way out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
from deltalake.exceptions import DeltaError

from chronotope.contracts.errors import StoreError

_COLOURS: Final = re.compile(r"\x1b\[\d+m")
"""An object store's refusal is a coloured tree of several lines."""

_RUST_TRACE: Final = re.compile(r"\n\s*0: .*", re.DOTALL)
"""Where a trace of Rust begins that Delta puts behind its message."""

_BROKEN_LOG: Final = re.compile(
    r"json error|invalid checkpoint|contiguous commit|no table metadata|arrow error|"
    r"parquet|corrupt|panic",
    re.IGNORECASE,
)
_REPAIR: Final = (
    "`chronotope doctor` names what is damaged; `chronotope doctor --repair` returns to the "
    "newest version that can be read and deletes nothing"
)
_LOOK: Final = (
    "Check free disk space, permissions and the version asked for, or that the "
    "object store answers; the last committed version is whole, and running again is safe"
)


@contextmanager
def translate_store_errors(table_name: str) -> Iterator[None]:
    """Turn a refusal of the disk, the store or Delta into an error with a way out.

    Args:
        table_name: The table that is read or written.

    Raises:
        StoreError: Whatever they refused; a panic of Delta's Rust library is one of them.
    """
    try:
        yield
    except BaseException as error:  # a panic of a Rust library is no Exception
        if not isinstance(error, (OSError, DeltaError, pa.ArrowInvalid)) and not _is_panic(error):
            raise
        error_text = " ".join(_COLOURS.sub("", _RUST_TRACE.sub("", str(error))).split())
        is_broken = _is_panic(error) or bool(_BROKEN_LOG.search(error_text))
        raise StoreError(
            f"Table {table_name!r} could not be read or written",
            received=error_text,
            way_out=_REPAIR if is_broken else _LOOK,
        ) from error


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"
