"""Commit of a staged delivery to a table with buckets: all new rows of all buckets, or none.

Tasks write one file per bucket. The driver adds all files in one commit on top of the version whose
files they were compared with. If another process committed meanwhile, Delta refuses the commit; the
buckets with other files are compared again, and the commit is repeated.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from chronotope.contracts import columns as c
from chronotope.contracts.errors import SchemaError
from chronotope.lake.bucketed.bucket_column import bucket_field, count_buckets, with_buckets
from chronotope.lake.bucketed.bucket_part import BucketPart, BucketTask, write_bucket
from chronotope.lake.bucketed.staged_buckets import StagedBuckets
from chronotope.lake.bucketed.table_files import add_action, open_folder, paths_by_bucket
from chronotope.lake.repeated_rows import RepeatedRows
from chronotope.lake.staged_batch import ALL_VERSIONS, FIRST, NO_CLEANUP
from chronotope.runtime.engine.protocol import Engine
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.store_urls import Location

_ATTEMPTS: Final = 10

AT_ONCE: Final = CommitProperties(max_commit_retries=0)
"""Commit properties of a commit that depends on the version it was prepared for: no retry on top of
another one."""


class BucketsChanged(Exception):  # noqa: N818 - no error: the delivery is staged again
    """The table has another number of buckets than the delivery was staged for."""


@dataclass(frozen=True, slots=True)
class BucketCommit:
    """Result of a commit.

    Attributes:
        n_inserted: Number of rows inserted.
        repeated: Rows of the delivery that repeat the id of an earlier row.
    """

    n_inserted: int
    repeated: RepeatedRows


@dataclass(slots=True)
class _Parts:
    """Files written for a delivery, by bucket, and the table's files they were compared with."""

    table: Location
    target: Location
    written: dict[int, tuple[tuple[str, ...], BucketPart]] = field(default_factory=dict)

    def new_parts(self) -> list[BucketPart]:
        """Parts with rows, by bucket."""
        return [
            bucket_part
            for _, (_, bucket_part) in sorted(self.written.items())
            if bucket_part.path is not None
        ]

    def n_rows(self) -> int:
        """Number of new rows."""
        return sum(bucket_part.n_rows for bucket_part in self.new_parts())

    def replace(self, table_paths: tuple[str, ...], bucket_part: BucketPart) -> None:
        """Record the part of a bucket, and remove its earlier file."""
        if bucket_part.bucket in self.written:
            self.remove([self.written[bucket_part.bucket][1]])
        self.written[bucket_part.bucket] = table_paths, bucket_part

    def remove(self, bucket_parts: Iterable[BucketPart]) -> None:
        """Remove files that no version names; one that cannot be removed does no harm."""
        target = open_folder(self.target)
        for bucket_part in bucket_parts:
            if bucket_part.path is not None:
                with suppress(OSError):
                    target.delete_file(bucket_part.path)


def commit_buckets(lake_root: Location, delivery: StagedBuckets, engine: Engine) -> BucketCommit:
    """Insert the staged rows whose id is new, in one commit; none is made if no row is new.

    Args:
        lake_root: Folder or address of the lake, whose events table may not exist yet.
        delivery: The staged rows.
        engine: Engine of the tasks, one per bucket.

    Raises:
        BucketsChanged: The table has another number of buckets.
        SchemaError: A column has another type in the table.
        StoreError: The lake could not be written.
    """
    is_local = isinstance(lake_root, Path)
    table: Location = f"{lake_root}/events"
    if isinstance(lake_root, Path):
        table = (lake_root / "events").resolve()  # for workers in other folders
    bucket_parts = _Parts(table, delivery.folder if is_local else table)
    try:
        _commit_in_turn(table, delivery, bucket_parts, engine)
    except BaseException:
        _remove_unnamed(bucket_parts)
        raise
    return BucketCommit(bucket_parts.n_rows(), _sum_repeated(delivery, bucket_parts))


def _commit_in_turn(
    table: Location, delivery: StagedBuckets, bucket_parts: _Parts, engine: Engine
) -> None:
    """Write the parts and commit them, again if another process committed meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        delta_table = _open_latest(table)
        if delta_table is not None and count_buckets(delta_table) != delivery.n_buckets:
            raise BucketsChanged
        _write_parts(delta_table, delivery, bucket_parts, engine)
        try:
            if delta_table is None or bucket_parts.n_rows():
                _commit_parts(delta_table, delivery, bucket_parts)
        except CommitFailedError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _open_latest(table: Location) -> DeltaTable | None:
    try:
        return DeltaTable(str(table))
    except TableNotFoundError:
        return None


def _write_parts(
    delta_table: DeltaTable | None, delivery: StagedBuckets, bucket_parts: _Parts, engine: Engine
) -> None:
    """Write the parts of the buckets whose files in the table are others than before."""
    table_paths = {} if delta_table is None else paths_by_bucket(delta_table)
    schema = _part_schema(delta_table, delivery.schema)
    tasks = []
    for bucket in delivery.row_buckets():
        bucket_paths = table_paths.get(bucket, ())
        if bucket in bucket_parts.written and bucket_parts.written[bucket][0] == bucket_paths:
            continue
        tasks.append(
            BucketTask(
                bucket,
                tuple(delivery.row_groups(bucket)),
                schema,
                bucket_parts.table,
                bucket_paths,
                bucket_parts.target,
                _part_path(bucket_parts, bucket),
            )
        )
    for task, bucket_part in zip(tasks, engine.map(write_bucket, tasks), strict=True):
        bucket_parts.replace(task.table_paths, bucket_part)


def _part_path(bucket_parts: _Parts, bucket: int) -> str:
    """Path of a new file: in an object store its last one, else in the staging folder."""
    file_name = f"part-{bucket:05d}-{uuid4()}.snappy.parquet"
    return (
        file_name
        if isinstance(bucket_parts.table, Path)
        else f"{c.USER_BUCKET}={bucket}/{file_name}"
    )


def _part_schema(delta_table: DeltaTable | None, row_schema: pa.Schema) -> pa.Schema:
    """Schema of the files: the columns of the rows in the types of the table."""
    if delta_table is None:
        return row_schema
    table_schema = pa.schema(delta_table.schema().to_arrow())
    table_types = {arrow_field.name: arrow_field.type for arrow_field in table_schema}
    fields = []
    for arrow_field in row_schema:
        table_type = table_types.get(arrow_field.name, arrow_field.type)
        if pa.types.is_string_view(table_type):
            table_type = pa.string()
        if _kind(table_type) != _kind(arrow_field.type):
            raise SchemaError(
                f"Column {arrow_field.name!r} has another type in the lake",
                received=f"{arrow_field.type}; the lake has {table_type}",
                way_out="Map the column to the type of the lake in the dataset's YAML",
            )
        fields.append(arrow_field.with_type(table_type))
    return pa.schema(fields)


def _kind(arrow_type: pa.DataType) -> str:
    """Kind of a type: numbers are cast to each other, other types have to be equal."""
    is_number = pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type)
    return "number" if is_number else str(arrow_type)


def _commit_parts(
    delta_table: DeltaTable | None, delivery: StagedBuckets, bucket_parts: _Parts
) -> None:
    """Make the parts visible in one commit on top of the opened version."""
    if delta_table is not None:
        table_schema = pa.schema(delta_table.schema().to_arrow())
        if set(delivery.schema.names) - set(table_schema.names):
            _commit_new_columns(delta_table, delivery, bucket_parts)
            return
    add_actions: list[AddAction] = []
    try:
        add_actions += (
            _placed(bucket_part, bucket_parts) for bucket_part in bucket_parts.new_parts()
        )
        if delta_table is None:
            _create_table(delivery, bucket_parts, add_actions)
        else:
            delta_table.create_write_transaction(
                [*add_actions],
                "append",
                delta_table.schema(),
                [c.USER_BUCKET],
                commit_properties=AT_ONCE,
                post_commithook_properties=NO_CLEANUP,
            )
    except BaseException:
        _take_back(bucket_parts, add_actions)
        raise


def _create_table(
    delivery: StagedBuckets, bucket_parts: _Parts, add_actions: list[AddAction]
) -> None:
    schema = delivery.schema.append(bucket_field(delivery.n_buckets))
    try:
        create_table_with_add_actions(
            str(bucket_parts.table),
            Schema.from_arrow(schema),
            add_actions,
            mode="error",
            partition_by=[c.USER_BUCKET],
            configuration=ALL_VERSIONS,
            commit_properties=FIRST,
        )
    except DeltaError as error:
        if _open_latest(bucket_parts.table) is None:
            raise
        raise CommitFailedError("Another process created the table") from error


def _commit_new_columns(
    delta_table: DeltaTable, delivery: StagedBuckets, bucket_parts: _Parts
) -> None:
    """Append rows with columns that the table has not; Delta writes them once more."""
    new_parts, schema = bucket_parts.new_parts(), _part_schema(delta_table, delivery.schema)
    # A dataset reads in threads of Arrow: those of Delta, which call the reader, cannot wait.
    new_rows = pads.dataset(
        [bucket_part.path for bucket_part in new_parts],
        schema=schema,
        format="parquet",
        filesystem=open_folder(bucket_parts.target),
    )
    written_schema = schema.append(bucket_field(delivery.n_buckets))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in new_rows.to_batches():
            rows = pa.Table.from_batches([batch])
            yield from with_buckets(rows, delivery.n_buckets).to_batches()

    write_deltalake(
        delta_table,
        pa.RecordBatchReader.from_batches(written_schema, batches()),
        mode="append",
        schema_mode="merge",
        commit_properties=AT_ONCE,
        post_commithook_properties=NO_CLEANUP,
    )
    if not isinstance(bucket_parts.table, Path):
        bucket_parts.remove(new_parts)


def _placed(bucket_part: BucketPart, bucket_parts: _Parts) -> AddAction:
    """Action that adds a part; in a local lake its file is moved into the folder of its bucket."""
    file_path = bucket_part.path or ""
    if isinstance(bucket_parts.table, Path) and isinstance(bucket_parts.target, Path):
        file_path = f"{c.USER_BUCKET}={bucket_part.bucket}/{bucket_part.path}"
        private_folder((bucket_parts.table / file_path).parent)
        (bucket_parts.target / str(bucket_part.path)).rename(bucket_parts.table / file_path)
    return add_action(file_path, bucket_part.bucket, bucket_part.n_bytes, bucket_part.n_rows)


def _take_back(bucket_parts: _Parts, add_actions: list[AddAction]) -> None:
    """Move the files back after a failure, unless the commit was made before it."""
    if not isinstance(bucket_parts.table, Path) or not isinstance(bucket_parts.target, Path):
        return
    named_paths = _named_paths(bucket_parts.table)
    for action in add_actions:
        if action.path not in named_paths:
            (bucket_parts.table / action.path).rename(bucket_parts.target / Path(action.path).name)


def _remove_unnamed(bucket_parts: _Parts) -> None:
    """Remove the files of a failed delivery from an object store."""
    if isinstance(bucket_parts.table, Path):
        return  # they are in the staging folder
    with suppress(OSError, DeltaError):  # the first error is the one to report
        named_paths = _named_paths(bucket_parts.table)
        bucket_parts.remove(
            bucket_part
            for bucket_part in bucket_parts.new_parts()
            if bucket_part.path not in named_paths
        )


def _named_paths(table: Location) -> set[str]:
    latest = _open_latest(table)
    if latest is None or count_buckets(latest) == 1:
        return set()
    return {path for paths in paths_by_bucket(latest).values() for path in paths}


def _sum_repeated(delivery: StagedBuckets, bucket_parts: _Parts) -> RepeatedRows:
    """Repeated rows of all buckets, with the example that comes first in the source."""
    batch_numbers = {file.path.name: number for number, file in enumerate(delivery.files)}
    all_parts = [bucket_part for _, bucket_part in bucket_parts.written.values()]
    examples = sorted(
        (
            batch_numbers[bucket_part.example_row[0]],
            bucket_part.example_row[1],
            bucket_part.repeated.example,
        )
        for bucket_part in all_parts
        if bucket_part.example_row is not None
    )
    return RepeatedRows(
        n_rows=sum(bucket_part.repeated.n_rows for bucket_part in all_parts),
        n_equal=sum(bucket_part.repeated.n_equal for bucket_part in all_parts),
        example=examples[0][2] if examples else None,
    )
