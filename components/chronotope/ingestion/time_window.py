"""Selection of the rows of a delivery by event time, for a backfill."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.ingestion.batch_staging import IngestBatch


def rows_in_window(
    batches: Iterable[IngestBatch], start_s: int, end_s: int, *, with_refused: bool
) -> Iterator[IngestBatch]:
    """Select the events in a time window; batches without selected rows are skipped.

    Args:
        batches: Normalised batches of a source.
        start_s: Start of the window, UTC seconds.
        end_s: End of the window, UTC seconds, exclusive.
        with_refused: Whether to include refused and dropped rows, and refused lines. Their time is
            unknown, so exactly
            one of several windows must include them.
    """
    for batch in batches:
        event_times_s = batch.rows.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy() // 1_000_000
        is_inside = (event_times_s >= start_s) & (event_times_s < end_s)
        refused_rows = batch.refused if with_refused else batch.refused.slice(0, 0)
        read_positions = np.union1d(
            batch.row_positions[is_inside], refused_rows.column("row").to_numpy()
        )
        dropped = batch.dropped if with_refused else {}
        if dropped:
            valid_or_refused = np.union1d(
                batch.row_positions, batch.refused.column("row").to_numpy()
            )
            dropped_positions = np.setdiff1d(np.arange(len(batch.raw)), valid_or_refused)
            read_positions = np.union1d(read_positions, dropped_positions)
        refused_lines = batch.refused_lines if with_refused else None
        if len(read_positions) or refused_lines is not None:
            refused_positions = pa.array(
                np.searchsorted(read_positions, refused_rows.column("row").to_numpy()), pa.int64()
            )
            yield IngestBatch(
                raw=batch.raw.take(pa.array(read_positions)),
                rows=batch.rows.filter(pa.array(is_inside)),
                row_positions=np.searchsorted(read_positions, batch.row_positions[is_inside]),
                refused=refused_rows.set_column(0, refused_rows.schema.field(0), refused_positions),
                dropped=dropped,
                refused_lines=refused_lines,
                missing_numbers=batch.missing_numbers if with_refused else {},
            )
