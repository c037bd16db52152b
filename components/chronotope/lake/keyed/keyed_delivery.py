"""Staging of one delivery of a keyed table: of rows with equal keys the last one counts.

Rows are staged as Parquet files batch by batch, so that a delivery of any size is one commit. The
commit is the last step: after a kill or on a full disk the table is that of the delivery before,
and the next delivery removes the staged files.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.lake.row_conformance import repeated_positions, row_hashes
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.store_urls import Location
from chronotope.runtime.temp_dirs import temporary_folder

Mask = npt.NDArray[np.bool_]

_PREFIX: Final = ".keyed-staging-"
_PREFIX_IN_TMP: Final = "chronotope-keyed-staging-"
_READ_ROWS: Final = 1 << 18
"""Rows of a batch that is read back."""


@dataclass(slots=True)
class KeyedDelivery:
    """Rows of one delivery; memory use is 9 bytes a row.

    Attributes:
        folder: Folder of the staged files.
        table_name: Table of the rows, named in errors.
        key_columns: Columns of the key.
        paths: Staged Parquet files.
    """

    folder: Path
    table_name: str
    key_columns: Sequence[str]
    paths: list[Path] = field(default_factory=list)
    _keys: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    _is_staged: list[Mask] = field(default_factory=list)

    def add(self, rows: pa.Table, is_changed: Mask) -> None:
        """Add a batch of valid rows.

        Args:
            rows: All valid rows: an unchanged one also replaces earlier rows of its key.
            is_changed: Rows that the table does not hold yet, and that are staged, shape (n,).

        Raises:
            StoreError: The batch cannot be written.
        """
        self._keys.append(row_hashes(rows.select(list(self.key_columns))))
        self._is_staged.append(is_changed)
        if not is_changed.any():
            return
        file_path = self.folder / f"rows-{len(self.paths):06d}.parquet"
        with translate_store_errors(self.table_name):
            pq.write_table(rows.filter(pa.array(is_changed)), file_path)
        self.paths.append(file_path)

    def is_last_of_key(self) -> Mask:
        """Whether each row is the last one of its key in the delivery, shape (n_rows,).

        Keys are compared by 64-bit hashes: of twenty million rows two keys are equal by accident
        once in a hundred thousand deliveries.
        """
        keys = np.concatenate([np.zeros(0, np.uint64), *self._keys])
        is_last = np.ones(len(keys), np.bool_)
        repeated = repeated_positions(keys)
        _, from_the_end = np.unique(keys[repeated][::-1], return_index=True)
        is_last[repeated] = False
        is_last[repeated[::-1][from_the_end]] = True
        return is_last

    def rows(self, is_last: Mask) -> Iterator[pa.Table]:
        """Staged rows that are the last ones of their keys, in batches.

        Args:
            is_last: Result of ``is_last_of_key``.
        """
        is_staged = np.concatenate([np.zeros(0, np.bool_), *self._is_staged])
        keep_mask, start_row = is_last[is_staged], 0
        for file_path in self.paths:
            with translate_store_errors(self.table_name), pq.ParquetFile(file_path) as staged:
                for batch in staged.iter_batches(_READ_ROWS):
                    batch_mask = keep_mask[start_row : start_row + len(batch)]
                    start_row += len(batch)
                    yield pa.Table.from_batches([batch]).filter(pa.array(batch_mask))


@contextmanager
def keyed_delivery(
    lake_root: Location, table_name: str, key_columns: Sequence[str]
) -> Iterator[KeyedDelivery]:
    """Staging folder of one delivery; folders of killed processes are removed first.

    Args:
        lake_root: The lake. For a lake in an object store the folder is created below ``TMPDIR``.
        table_name: Table of the rows.
        key_columns: Columns of its key.

    Raises:
        StoreError: The folder cannot be created.
    """
    is_local = isinstance(lake_root, Path)
    parent_dir = lake_root if isinstance(lake_root, Path) else Path(gettempdir())
    with ExitStack() as exit_stack:
        with translate_store_errors(table_name):
            staging_dir = exit_stack.enter_context(
                temporary_folder(parent_dir, _PREFIX if is_local else _PREFIX_IN_TMP)
            )
        yield KeyedDelivery(staging_dir, table_name, key_columns)
