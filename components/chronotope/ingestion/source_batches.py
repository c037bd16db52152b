"""Batches of a dataset's own source, normalised, for ``ingest``."""

from collections.abc import Iterator

import pyarrow as pa

from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.normalise import normalise
from chronotope.datasets.occurrences import OccurrenceCounter
from chronotope.datasets.readers import read_events
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion.pipeline import IngestBatch


def read_batches(
    dataset_spec: DatasetSpec, batch_rows: int, source_report: SourceReport | None = None
) -> Iterator[IngestBatch]:
    """Normalised batches of the events in a dataset's own source, with its refused lines.

    Args:
        dataset_spec: The dataset.
        batch_rows: Number of rows of a batch.
        source_report: Report that gets the counts of the lines of text files.
    """
    source_report = source_report or SourceReport()
    occurrences = OccurrenceCounter()
    last_rows: pa.Table | None = None
    for raw_rows in read_events(dataset_spec, batch_rows=batch_rows, source_report=source_report):
        yield _normalised(dataset_spec, raw_rows, source_report.take_refused(), occurrences)
        last_rows = raw_rows
    refused_lines = source_report.take_refused()  # after the last row
    if len(refused_lines) and last_rows is not None:
        yield _normalised(dataset_spec, last_rows.slice(0, 0), refused_lines, occurrences)


def _normalised(
    dataset_spec: DatasetSpec,
    raw_rows: pa.Table,
    refused_lines: pa.Table,
    occurrences: OccurrenceCounter,
) -> IngestBatch:
    normalised_batch = normalise(dataset_spec, raw_rows, occurrences=occurrences)
    return IngestBatch(
        raw_rows,
        normalised_batch.rows,
        normalised_batch.row_positions,
        normalised_batch.refused,
        normalised_batch.dropped,
        refused_lines=refused_lines if len(refused_lines) else None,
        missing_numbers=normalised_batch.missing_numbers,
    )
