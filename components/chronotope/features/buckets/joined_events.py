"""The numeric event log of all buckets: their rows in the joined indices, ordered by user."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts.event_log import Int32, Int64
from chronotope.features.table_files import ROW_GROUP_ROWS, write_table_file


@dataclass(frozen=True, slots=True)
class BucketIndices:
    """Joined indices of the users, items, places and sessions of one bucket.

    Attributes:
        user_idx: Joined index of each user of the bucket, shape (n_users + 1,); 0 stays 0.
        row_shift: What to add to the row number in the bucket to get that in the joined log,
            by user of the bucket, shape (n_users + 1,).
        session_shift: What to add to the session index, by user of the bucket.
        item_idx, place_idx: Joined indices, shapes (n_items + 1,) and (n_places + 1,).
    """

    user_idx: Int32
    row_shift: Int64
    session_shift: Int32
    item_idx: Int32
    place_idx: Int32

    def joined_batch(self, batch: pa.RecordBatch, first_row: int) -> tuple[Int64, pa.RecordBatch]:
        """Row numbers in the joined log, shape (n_rows,), and the batch in joined indices.

        Args:
            batch: Rows of the bucket, in its indices.
            first_row: Row number of the first one in the bucket.
        """
        user_idx = batch.column("user_idx").to_numpy()
        session_idx = batch.column("session_idx").to_numpy()
        joined_columns: Mapping[str, npt.NDArray[np.int32]] = {
            "user_idx": self.user_idx[user_idx],
            "item_idx": self.item_idx[batch.column("item_idx").to_numpy()],
            "place_idx": self.place_idx[batch.column("place_idx").to_numpy()],
            "session_idx": np.where(
                session_idx > 0, session_idx + self.session_shift[user_idx], np.int32(0)
            ),
        }
        joined_arrays = [
            pa.array(joined_columns[name]) if name in joined_columns else batch.column(name)
            for name in batch.schema.names
        ]
        rows = np.arange(first_row, first_row + len(batch)) + self.row_shift[user_idx]
        return rows, pa.RecordBatch.from_arrays(joined_arrays, schema=batch.schema)


class BucketCursor:
    """Reader of a bucket's events in the order of the joined log, one batch in memory."""

    def __init__(self, events_path: Path, indices: BucketIndices) -> None:
        """Open at the first row.

        Args:
            events_path: ``EVENTS_FILE`` of the bucket.
            indices: Joined indices.
        """
        self._batches = _read_batches(events_path, indices)
        self._rows: Int64 = np.zeros(0, np.int64)
        self._batch: pa.RecordBatch | None = None

    def rows_before(self, end_row: int) -> Iterator[tuple[Int64, pa.RecordBatch]]:
        """The next rows whose number in the joined log is below a bound, with these numbers."""
        while True:
            if self._batch is not None and len(self._rows):
                n_rows = int(np.searchsorted(self._rows, end_row))
                if n_rows:
                    yield self._rows[:n_rows], self._batch.slice(0, n_rows)
                self._rows, self._batch = self._rows[n_rows:], self._batch.slice(n_rows)
                if len(self._rows):
                    return
            next_batch = next(self._batches, None)
            if next_batch is None:
                self._batch = None
                return
            self._rows, self._batch = next_batch


def write_joined_events(
    events_paths: Sequence[Path], indices: Sequence[BucketIndices], n_events: int, file_path: Path
) -> None:
    """Write the events of all buckets as one table, ordered by user, time and event id.

    A user's rows are all in one bucket and in order there, so the number of each row in the
    joined log is known, and one row group at a time is gathered from the buckets.

    Args:
        events_paths: ``EVENTS_FILE`` of each bucket.
        indices: Joined indices of each bucket.
        n_events: Number of events of all buckets, at least 1.
        file_path: The Parquet file.
    """
    with pa.OSFile(str(events_paths[0])) as arrow_file:
        events_schema = pa.ipc.open_file(arrow_file).schema
    bucket_cursors = [
        BucketCursor(path, bucket_indices)
        for path, bucket_indices in zip(events_paths, indices, strict=True)
    ]
    row_groups = (
        _row_group(bucket_cursors, first_row, min(first_row + ROW_GROUP_ROWS, n_events))
        for first_row in range(0, n_events, ROW_GROUP_ROWS)
    )
    write_table_file(pa.RecordBatchReader.from_batches(events_schema, row_groups), file_path)


def _row_group(
    bucket_cursors: Sequence[BucketCursor], first_row: int, end_row: int
) -> pa.RecordBatch:
    """Rows of the joined log between two row numbers."""
    row_parts = [part for cursor in bucket_cursors for part in cursor.rows_before(end_row)]
    row_order = np.empty(end_row - first_row, np.int64)
    row_order[np.concatenate([rows for rows, _ in row_parts]) - first_row] = np.arange(
        len(row_order)
    )
    rows = pa.Table.from_batches([batch for _, batch in row_parts]).take(pa.array(row_order))
    return rows.combine_chunks().to_batches()[0]


def _read_batches(
    events_path: Path, indices: BucketIndices
) -> Iterator[tuple[Int64, pa.RecordBatch]]:
    """Batches in joined indices; the file is open only while one is read."""
    first_row, batch_idx = 0, 0
    while True:
        with pa.OSFile(str(events_path)) as arrow_file:
            batch_file = pa.ipc.open_file(arrow_file)
            if batch_idx == batch_file.num_record_batches:
                return
            batch = batch_file.get_batch(batch_idx)
        yield indices.joined_batch(batch, first_row)
        first_row, batch_idx = first_row + len(batch), batch_idx + 1
