"""The rows of a delivery that happened in a stretch of time."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.ingestion.pipeline import IngestBatch


def rows_in_window(
    batches: Iterable[IngestBatch], start_s: int, end_s: int, *, with_refused: bool
) -> Iterator[IngestBatch]:
    """Keep what happened in a window; batches without such rows are left out.

    Args:
        batches: Normalised batches of a source.
        start_s: First instant, UTC seconds.
        end_s: End, exclusive.
        with_refused: Keep rows that could not be read, too: nobody knows when they happened,
            and one window of all has to take them.
    """
    for batch in batches:
        event_times_s = batch.rows.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy() // 1_000_000
        is_inside = (event_times_s >= start_s) & (event_times_s < end_s)
        refused_rows = batch.refused if with_refused else batch.refused.slice(0, 0)
        read_positions = np.union1d(
            batch.row_positions[is_inside], refused_rows.column("row").to_numpy()
        )
        if len(read_positions):
            refused_positions = pa.array(
                np.searchsorted(read_positions, refused_rows.column("row").to_numpy()), pa.int64()
            )
            yield IngestBatch(
                raw=batch.raw.take(pa.array(read_positions)),
                rows=batch.rows.filter(pa.array(is_inside)),
                row_positions=np.searchsorted(read_positions, batch.row_positions[is_inside]),
                refused=refused_rows.set_column(0, refused_rows.schema.field(0), refused_positions),
            )
