"""Task of one part of a source: read, normalise, check and stage its rows."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.occurrences import OccurrenceCounter
from chronotope.datasets.source_parts import FileSlice, PartReading, SourcePart, read_part
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion.batch_staging import DeliveryProgress, stage_batch
from chronotope.ingestion.excluded_rows import ExcludedRows
from chronotope.ingestion.pipeline import WholeBatchCheck
from chronotope.ingestion.source_batches import normalise_batch
from chronotope.lake.bucketed import new_delivery
from chronotope.lake.store_errors import translate_store_errors

SAMPLE_ROWS: Final = 10_000
"""Rows of the first part that the data docs show."""


class DividedCheck(WholeBatchCheck, Protocol):
    """Check whose batches may be checked in several processes."""

    @property
    def counts(self) -> Any:
        """What was counted in the batches so far, to be added to another check."""

    def add_counts(self, counts: Any) -> None:
        """Add the counts of batches that were checked elsewhere."""


class CheckSource(Protocol):
    """What a task opens its check from; small, since it travels to a worker."""

    def open(self) -> DividedCheck:
        """A check without counts."""


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows that the driver has read, since the source cannot be divided.

    Attributes:
        rows: The rows with contract column names, or an Arrow file with them.
        refused_lines: Lines before them that are no rows; None if there are none.
    """

    rows: pa.Table | Path
    refused_lines: pa.Table | None = None

    def table(self) -> pa.Table:
        """The rows."""
        if not isinstance(self.rows, Path):
            return self.rows
        with translate_store_errors("events"), pa.OSFile(str(self.rows), "rb") as source:
            return pa.ipc.open_file(source).read_all()


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part of a delivery and how it is staged.

    Attributes:
        source: Files or rows of the part.
        dataset_spec: The dataset.
        batch_rows: Number of rows of a batch.
        folder: Folder of the staged files.
        n_buckets: Number of buckets of the table.
        run_columns: Id of the run and description of the source.
        excluded_rows: Filter of rows that are not stored.
        check_source: Opens the check of the batches.
        working_dir: Folder that paths of the source are relative to.
        sample_path: File for the first rows; None if they are not needed.
    """

    source: SourcePart | RawRows
    dataset_spec: DatasetSpec
    batch_rows: int
    folder: Path
    n_buckets: int
    run_columns: dict[str, str]
    excluded_rows: ExcludedRows
    check_source: CheckSource
    working_dir: Path
    sample_path: Path | None = None


@dataclass(slots=True)
class StagedPart:
    """Result of a part.

    Attributes:
        part_progress: Totals and staged rows.
        check_counts: What its check counted.
        reading: Account of the reading.
    """

    part_progress: DeliveryProgress
    check_counts: Any
    reading: PartReading = field(default_factory=PartReading)


def stage_part(task: PartTask) -> StagedPart:
    """Read, normalise, check and stage a part; a repetition writes other files.

    Args:
        task: The part.

    Raises:
        SourceError: The source is damaged, or too many lines are refused.
        SchemaError: Columns are missing, or have several types.
        ValidationFailed: A critical expectation on the table failed.
        StoreError: The rows cannot be staged.
    """
    part_progress = DeliveryProgress(new_delivery(task.folder, task.n_buckets))
    row_check, reading, last_rows = task.check_source.open(), PartReading(), None
    for raw_rows, refused_lines in _raw_batches(task, reading):
        batch = normalise_batch(task.dataset_spec, raw_rows, OccurrenceCounter(), refused_lines)
        if last_rows is None and task.sample_path is not None:
            with translate_store_errors("events"):
                pq.write_table(batch.rows.slice(0, SAMPLE_ROWS), task.sample_path)
        stage_batch(part_progress, batch, row_check, task.excluded_rows, task.run_columns)
        last_rows = raw_rows
    return StagedPart(part_progress, row_check.counts, reading)


def _raw_batches(
    task: PartTask, reading: PartReading
) -> Iterator[tuple[pa.Table, pa.Table | None]]:
    """Batches of the part, with the refused lines before each; none may follow the last one."""
    if isinstance(task.source, RawRows):
        yield task.source.table(), task.source.refused_lines
        return
    source, path_labels = _with_absolute_paths(task.source, task.working_dir)
    last_rows: pa.Table | None = None
    for raw_rows in read_part(task.dataset_spec, source, task.batch_rows, reading):
        yield raw_rows, _labelled(reading.report.take_refused(), path_labels)
        last_rows = raw_rows
    refused_lines = _labelled(reading.report.take_refused(), path_labels)
    if len(refused_lines) and last_rows is not None:
        yield last_rows.slice(0, 0), refused_lines
    _rename_files(reading.report, path_labels)


def _with_absolute_paths(
    source: SourcePart, working_dir: Path
) -> tuple[SourcePart, dict[str, str]]:
    """The part for a process in any folder, and the paths of its files as they were given."""
    files = tuple(replace(file, path=working_dir / file.path) for file in source.files)
    slices = tuple(
        FileSlice(replace(part.file, path=working_dir / part.file.path), part.row_groups)
        for part in source.slices
    )
    path_labels = {str(working_dir / part.file.path): str(part.file.path) for part in source.slices}
    return replace(source, slices=slices, files=files), path_labels


def _labelled(refused_lines: pa.Table, path_labels: dict[str, str]) -> pa.Table:
    """Refused lines with the paths of their files as they were given."""
    paths = [
        path_labels.get(path, path) for path in refused_lines.column("source_file").to_pylist()
    ]
    column_field = refused_lines.schema.field("source_file")
    return refused_lines.set_column(0, column_field, pa.array(paths, pa.string()))


def _rename_files(report: SourceReport, path_labels: dict[str, str]) -> None:
    report.files = {path_labels.get(path, path): counts for path, counts in report.files.items()}
