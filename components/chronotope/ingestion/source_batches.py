"""Batches of a dataset's own source, normalised, for ``ingest``."""

import hashlib
from collections.abc import Iterator

import pyarrow as pa

from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.normalise import normalise
from chronotope.datasets.occurrences import OccurrenceCounter
from chronotope.datasets.readers import read_events
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion.batch_staging import IngestBatch


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
        refused_lines = source_report.take_refused()
        yield normalise_batch(dataset_spec, raw_rows, occurrences, refused_lines)
        last_rows = raw_rows
    refused_lines = source_report.take_refused()  # after the last row
    if len(refused_lines) and last_rows is not None:
        yield normalise_batch(dataset_spec, last_rows.slice(0, 0), occurrences, refused_lines)


def normalise_batch(
    dataset_spec: DatasetSpec,
    raw_rows: pa.Table,
    occurrences: OccurrenceCounter,
    refused_lines: pa.Table | None = None,
) -> IngestBatch:
    """Normalise one batch of a source for ``ingest``.

    Args:
        dataset_spec: The dataset.
        raw_rows: Rows with contract column names and the values of the source.
        occurrences: Counter of the delivery.
        refused_lines: Lines of a text file that are no rows; None if there are none.
    """
    normalised_batch = normalise(dataset_spec, raw_rows, occurrences=occurrences)
    return IngestBatch(
        normalised_batch.raw,
        normalised_batch.rows,
        normalised_batch.row_positions,
        normalised_batch.refused,
        normalised_batch.dropped,
        refused_lines=refused_lines if refused_lines is not None and len(refused_lines) else None,
        missing_numbers=normalised_batch.missing_numbers,
    )


def delivery_id(dataset_spec: DatasetSpec) -> str:
    """Id of a delivery, equal for the same source, so that quarantined rows are stored once."""
    source_text = dataset_spec.model_dump_json(exclude={"user_buckets"})  # how it is stored
    content_digest = hashlib.sha256(source_text.encode()).hexdigest()
    return f"{dataset_spec.name}-{content_digest[:12]}"
