"""Ingestion of a dataset's own source on a task engine.

Tasks over the parts of the source read, normalise, check and stage. The driver adds up what they
counted, checks the delivery as a whole, and commits it at once; tasks over buckets compare ids.
In this process the same tasks run one after the other.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.datasets.files.budget import ByteBudget
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.readers import empty_log_error, read_events
from chronotope.datasets.source_parts import SourcePart, divide_source
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion.batch_staging import DeliveryProgress, stage_batch
from chronotope.ingestion.excluded_rows import ExcludedRows
from chronotope.ingestion.part_task import (
    CheckSource,
    DividedCheck,
    PartTask,
    RawRows,
    StagedPart,
    stage_part,
)
from chronotope.ingestion.pipeline import IngestReport, commit_delivery
from chronotope.ingestion.source_batches import delivery_id, read_batches
from chronotope.lake import Lake
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.engine import Engine

_SAMPLE: Final = "sample.parquet"


def ingest_source(
    dataset_spec: DatasetSpec,
    *,
    lake: Lake,
    engine: Engine,
    prepare_check: Callable[[Path], CheckSource],
    batch_rows: int,
    source_report: SourceReport,
    shared_dir: Path | None = None,
    on_sample: Callable[[pa.Table], None] | None = None,
) -> IngestReport:
    """Ingest the events of a dataset's own source; all of them are committed, or none.

    Args:
        dataset_spec: The dataset.
        lake: Destination of valid and refused rows.
        engine: Engine of the tasks.
        prepare_check: Returns what tasks open their check from; called with a folder for its files.
        batch_rows: Number of rows read and checked at a time.
        source_report: Report that gets the counts of the lines of text files.
        shared_dir: Folder that all workers can write to, in which a lake in an object store stages
            its deliveries; None for one of this machine.
        on_sample: Called with the first normalised rows.

    Raises:
        SourceError: The source is missing, damaged or empty.
        NotEnoughData: The delivery has no rows.
        ValidationFailed: A critical expectation failed; nothing was written.
        StoreError: The row counts do not add up, or the lake cannot be written.
        EngineError: A task was lost more often than the engine's retries.
    """
    with lake.delivery(dataset_spec.user_buckets, shared_dir) as delivery:
        delivery_progress, check_source = DeliveryProgress(delivery), prepare_check(delivery.folder)
        task_template = PartTask(
            RawRows(pa.table({})),
            dataset_spec,
            batch_rows,
            delivery.folder,
            delivery.n_buckets,
            {c.RUN_ID: delivery_id(dataset_spec), c.SOURCE: dataset_spec.name},
            ExcludedRows.of_lake(lake),
            check_source,
            Path.cwd(),
        )
        row_check = check_source.open()
        if dataset_spec.has_occurrences:
            _stage_in_order(delivery_progress, task_template, row_check, source_report, on_sample)
        else:
            _stage_parts(
                delivery_progress, task_template, row_check, source_report, engine, on_sample
            )
        return commit_delivery(
            delivery_progress, row_check, lake, dataset_spec.name, dataset_spec.user_buckets, engine
        )


def _stage_in_order(
    delivery_progress: DeliveryProgress,
    task_template: PartTask,
    row_check: DividedCheck,
    source_report: SourceReport,
    on_sample: Callable[[pa.Table], None] | None,
) -> None:
    """Stage a source whose rows are numbered in its order, one batch after the other."""
    batches = read_batches(task_template.dataset_spec, task_template.batch_rows, source_report)
    for batch_idx, batch in enumerate(batches):
        if batch_idx == 0 and on_sample is not None:
            on_sample(batch.rows)
        stage_batch(
            delivery_progress,
            batch,
            row_check,
            task_template.excluded_rows,
            task_template.run_columns,
        )


def _stage_parts(
    delivery_progress: DeliveryProgress,
    task_template: PartTask,
    row_check: DividedCheck,
    source_report: SourceReport,
    engine: Engine,
    on_sample: Callable[[pa.Table], None] | None,
) -> None:
    """Stage the parts of a source on the engine, and add up what they counted in its order."""
    dataset_spec = task_template.dataset_spec
    parts = divide_source(dataset_spec, task_template.batch_rows)
    sample_path = None if on_sample is None else task_template.folder / _SAMPLE
    n_bytes, max_bytes = 0, parts[0].max_bytes if parts else 0
    part_sources: Iterator[SourcePart | RawRows] = (
        _raw_parts(task_template, source_report, engine) if parts is None else iter(parts)
    )
    tasks = (
        replace(task_template, source=source, sample_path=sample_path if part_idx == 0 else None)
        for part_idx, source in enumerate(part_sources)
    )
    try:
        for part_idx, staged_part in enumerate(engine.map(stage_part, tasks)):
            _add_part(delivery_progress, row_check, source_report, staged_part)
            n_bytes += staged_part.reading.n_bytes
            if parts is None:
                _raw_path(task_template.folder, part_idx).unlink(missing_ok=True)
            else:
                ByteBudget(max_bytes, max_bytes).spend(n_bytes)
    finally:  # also of a delivery that is refused, so that its data docs show why
        if on_sample is not None and sample_path is not None and sample_path.is_file():
            on_sample(pq.read_table(sample_path))
    if delivery_progress.n_read == delivery_progress.n_refused_lines:
        raise empty_log_error(dataset_spec)


def _add_part(
    delivery_progress: DeliveryProgress,
    row_check: DividedCheck,
    source_report: SourceReport,
    staged_part: StagedPart,
) -> None:
    delivery_progress.extend(staged_part.part_progress)
    row_check.add_counts(staged_part.check_counts)
    source_report.files.update(staged_part.reading.report.files)


def _raw_parts(
    task_template: PartTask, source_report: SourceReport, engine: Engine
) -> Iterator[RawRows]:
    """Batches of a source that is read as a whole; for other processes, in files."""
    raw_batches = read_events(
        task_template.dataset_spec, batch_rows=task_template.batch_rows, source_report=source_report
    )
    part_idx, last_rows = 0, None
    for part_idx, raw_rows in enumerate(raw_batches):
        yield _raw_part(task_template.folder, part_idx, raw_rows, source_report, engine)
        last_rows = raw_rows.slice(0, 0)
    if last_rows is not None:
        trailing_part = _raw_part(
            task_template.folder, part_idx + 1, last_rows, source_report, engine
        )
        if trailing_part.refused_lines is not None:
            yield trailing_part


def _raw_part(
    folder: Path, part_idx: int, raw_rows: pa.Table, source_report: SourceReport, engine: Engine
) -> RawRows:
    refused_lines = source_report.take_refused()
    waiting_lines = refused_lines if len(refused_lines) else None
    if engine.in_process:
        return RawRows(raw_rows, waiting_lines)
    file_path = _raw_path(folder, part_idx)
    with (
        translate_store_errors("events"),
        pa.OSFile(str(file_path), "wb") as sink,
        pa.ipc.new_file(sink, raw_rows.schema) as writer,
    ):
        writer.write_table(raw_rows)
    return RawRows(file_path, waiting_lines)


def _raw_path(folder: Path, part_idx: int) -> Path:
    return folder / f"raw-{part_idx:06d}.arrow"
