"""Readers of a dataset's tables; columns have the names of the data contract."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import SourceError
from chronotope.contracts.ids import event_ids
from chronotope.contracts.schemas import CONTEXT, INSTANT, ITEMS, USERS
from chronotope.datasets.city import city_items
from chronotope.datasets.databases import rows_since, stream_query
from chronotope.datasets.files.budget import MAX_BATCH_BYTES
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.files.source_files import stream_file
from chronotope.datasets.parsing import as_instants, as_numbers
from chronotope.datasets.row_filters import filter_column
from chronotope.datasets.simulation import simulate_events
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import ContextTableSpec, FeedSpec, Format, TableSpec
from chronotope.datasets.time_spec import TimeSpec
from chronotope.datasets.values.id_texts import id_texts, text_errors, utf8_texts
from chronotope.datasets.values.private_rows import PrivateRows

_TABLE_BATCH_ROWS = 200_000
_ID_COLUMNS = (c.USER_ID, c.ITEM_ID, c.PLACE_ID)


def read_events(
    dataset_spec: DatasetSpec,
    *,
    batch_rows: int = 200_000,
    source_report: SourceReport | None = None,
) -> Iterator[pa.Table]:
    """Read the event log in batches, in the order of the source and in bounded memory.

    Args:
        dataset_spec: The dataset.
        batch_rows: Number of rows of a batch; some have fewer, as the last one does.
        source_report: Report that gets the lines of text files that are no rows, and counts of
            all lines; None if nobody stores them, so that the first such line is an error.

    Yields:
        Tables with contract column names and the values of the source, for ``normalise``.

    Raises:
        SourceError: The source is missing, empty, truncated or unreadable.
        SchemaError: Mapped columns are missing.
    """
    n_rows = 0
    for batch in _raw_events(dataset_spec, batch_rows, source_report):
        n_rows += batch.num_rows
        yield batch
    if n_rows == 0:
        raise empty_log_error(dataset_spec)


def empty_log_error(dataset_spec: DatasetSpec) -> SourceError:
    """Error of an event log without rows."""
    return SourceError(
        "The event log has no rows",
        received=dataset_spec.name,
        way_out="Check path or query in the dataset's YAML, and the source itself",
    )


def read_items(dataset_spec: DatasetSpec, source_report: SourceReport | None = None) -> pa.Table:
    """Read the item catalogue; empty if the dataset has none.

    Args:
        dataset_spec: The dataset.
        source_report: As in ``read_events``.

    Returns:
        The columns of ``ITEMS``, then the attributes as text.

    Raises:
        SourceError: The source is missing, empty, truncated or unreadable.
        SchemaError: Mapped columns are missing.
    """
    if dataset_spec.city is not None:
        return city_items(dataset_spec.city)
    return _read_table(dataset_spec.items, dataset_spec, ITEMS, source_report)


def read_users(dataset_spec: DatasetSpec, source_report: SourceReport | None = None) -> pa.Table:
    """Read the user attributes; empty if the dataset has none.

    Args:
        dataset_spec: The dataset.
        source_report: As in ``read_events``.

    Returns:
        ``user_id``, then the attributes as text; pseudonyms where the dataset has them.

    Raises:
        SourceError: The source is missing, empty, truncated or unreadable.
        SchemaError: Mapped columns are missing.
    """
    user_rows = _read_table(dataset_spec.users, dataset_spec, USERS, source_report)
    return PrivateRows.of(dataset_spec.privacy, dataset_spec.name).stored(user_rows)


def read_context_table(
    dataset_spec: DatasetSpec, source_report: SourceReport | None = None
) -> pa.Table:
    """Read the context table; empty if the dataset has none.

    Readings of the same place and time have the same ``event_id``.

    Args:
        dataset_spec: The dataset.
        source_report: As in ``read_events``.

    Returns:
        The columns of ``CONTEXT``, then the context columns as float64.

    Raises:
        SourceError: The source is missing, empty or unreadable, or one of its times is.
        SchemaError: Mapped columns are missing.
    """
    table_spec = dataset_spec.context_table
    if table_spec is None:
        return CONTEXT.empty_table()
    return pa.concat_tables(
        _context_readings(table_spec, dataset_spec, mapped_rows)
        for mapped_rows in _read_all_rows(table_spec, dataset_spec, source_report)
    )


def _context_readings(
    table_spec: ContextTableSpec, dataset_spec: DatasetSpec, mapped_rows: pa.Table
) -> pa.Table:
    """Context readings of one batch."""
    place_schema = pa.schema([pa.field(c.PLACE_ID, pa.string())])
    typed_rows = typed_table(table_spec, mapped_rows, place_schema)
    raw_times = mapped_rows[c.OCCURRED_AT].combine_chunks()
    instants, is_skipped = as_instants(raw_times, dataset_spec.time)
    if instants.null_count or is_skipped.any():
        unreadable_times = raw_times.filter(pc.or_(instants.is_null(), pa.array(is_skipped)))
        raise SourceError(
            f"{len(unreadable_times):,} times of the context table "
            f"cannot be read as {dataset_spec.time.kind}",
            received=unreadable_times[0],
            way_out="Correct the table, or `time` in the dataset's YAML, which also applies to the "
            "event log",
        )
    valid_until = pc.add(instants, pa.scalar(round(3.6e9 * table_spec.valid_h), pa.duration("us")))
    reading_ids = event_ids([instants, typed_rows[c.PLACE_ID]])
    reading_columns = [typed_rows[column_name] for column_name in table_spec.context]
    extra_fields = [
        *CONTEXT,
        *(pa.field(column_name, pa.float64()) for column_name in table_spec.context),
    ]
    table_columns = [
        reading_ids,
        instants,
        valid_until.cast(INSTANT),
        typed_rows[c.PLACE_ID],
        *reading_columns,
    ]
    return pa.table(table_columns, schema=pa.schema(extra_fields))


def read_feed(
    feed_spec: FeedSpec, url: str, *, since_value: int | float | str | None, max_rows: int
) -> tuple[list[object], pa.Table]:
    """Read new rows of a feed, in the order of its cursor column.

    Args:
        feed_spec: Query, column mapping and cursor column of the feed.
        url: URL of the database.
        since_value: Smallest cursor value to read; None reads from the beginning.
        max_rows: Maximum number of rows.

    Returns:
        The cursor value of each row, and the rows with contract column names.

    Raises:
        SourceError: The database cannot be reached, refuses the query or has no such column.
    """
    feed_batch = rows_since(feed_spec, url, since_value, max_rows)
    if feed_batch is None:
        return [], pa.table({})
    raw_rows = pa.Table.from_batches([feed_batch])
    mapped_rows = _to_contract_columns(feed_spec, raw_rows, feed_spec.time)
    return raw_rows[feed_spec.after].to_pylist(), mapped_rows


def _raw_events(
    dataset_spec: DatasetSpec, batch_rows: int, source_report: SourceReport | None
) -> Iterator[pa.Table]:
    if dataset_spec.city is not None:
        yield from simulate_events(dataset_spec.city, batch_events=batch_rows)
    if dataset_spec.events is not None:
        yield from mapped_batches(dataset_spec.events, dataset_spec, batch_rows, source_report)


def _read_table(
    table_spec: TableSpec | None,
    dataset_spec: DatasetSpec,
    schema: pa.Schema,
    source_report: SourceReport | None,
) -> pa.Table:
    if table_spec is None:
        return schema.empty_table()
    # Each batch in its own types: an id must not change because another file has wider numbers.
    return pa.concat_tables(
        typed_table(table_spec, mapped_rows, schema)
        for mapped_rows in _read_all_rows(table_spec, dataset_spec, source_report)
    )


def _read_all_rows(
    table_spec: TableSpec, dataset_spec: DatasetSpec, source_report: SourceReport | None
) -> list[pa.Table]:
    """All batches of a table with contract column names and the values of the source."""
    mapped_tables = [
        _to_contract_columns(table_spec, pa.Table.from_batches([record_batch]), dataset_spec.time)
        for record_batch in _stream(table_spec, dataset_spec, _TABLE_BATCH_ROWS, source_report)
    ]
    if not any(len(mapped_rows) for mapped_rows in mapped_tables):
        raise SourceError(
            "The table has no rows",
            received=table_spec.path or table_spec.query,
            way_out="Check path or query in the dataset's YAML",
        )
    return mapped_tables


def typed_table(table_spec: TableSpec, mapped_rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, then context columns as numbers and attributes as text."""
    arrow_fields = list(schema)
    arrow_fields += [pa.field(column_name, pa.float64()) for column_name in table_spec.context]
    arrow_fields += [pa.field(column_name, pa.string()) for column_name in table_spec.attributes]
    return pa.table(
        [_typed_column(table_spec, mapped_rows, arrow_field) for arrow_field in arrow_fields],
        schema=pa.schema(arrow_fields),
    )


def _typed_column(table_spec: TableSpec, mapped_rows: pa.Table, arrow_field: pa.Field) -> pa.Array:
    """One column in the type of the schema; ids that are missing or refused are null."""
    if arrow_field.name not in mapped_rows.column_names:
        return pa.nulls(mapped_rows.num_rows, arrow_field.type)
    column = mapped_rows[arrow_field.name].combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if arrow_field.type == pa.float64():
        return as_numbers(column, table_spec.decimal, table_spec.thousands)
    with text_errors(arrow_field.name, column):
        if arrow_field.name in _ID_COLUMNS:
            return id_texts(column, table_spec.null_values).texts
        return utf8_texts(column)


def mapped_batches(
    table_spec: TableSpec,
    dataset_spec: DatasetSpec,
    batch_rows: int,
    source_report: SourceReport | None,
) -> Iterator[pa.Table]:
    """Batches of a table with contract column names and the values of the source."""
    batches = _stream(table_spec, dataset_spec, batch_rows, source_report)
    yield from contract_batches(table_spec, dataset_spec, batches, batch_rows)


def contract_batches(
    table_spec: TableSpec,
    dataset_spec: DatasetSpec,
    batches: Iterator[pa.RecordBatch],
    batch_rows: int,
) -> Iterator[pa.Table]:
    """Batches of a source as tables of ``batch_rows`` rows with contract column names."""
    for raw_rows in _rebatch(batches, batch_rows):
        yield _to_contract_columns(table_spec, raw_rows, dataset_spec.time)


def _stream(
    table_spec: TableSpec,
    dataset_spec: DatasetSpec,
    batch_rows: int,
    source_report: SourceReport | None,
) -> Iterator[pa.RecordBatch]:
    if source_report is not None and dataset_spec.privacy.hides_texts:
        source_report.hides_texts = True
    if table_spec.format is Format.SQL:
        return stream_query(table_spec, batch_rows=batch_rows)
    return stream_file(
        table_spec, dataset_spec.data_dir, batch_rows=batch_rows, source_report=source_report
    )


def _to_contract_columns(
    table_spec: TableSpec, raw_rows: pa.Table, time_spec: TimeSpec
) -> pa.Table:
    """Rename, coalesce and join source columns into contract columns; add those of filters."""
    mapped_columns = {
        column_name: raw_rows[source] for column_name, source in table_spec.sources.items()
    }
    for column_name, source_columns in table_spec.coalesce.items():
        mapped_columns[column_name] = pc.coalesce(
            *(_plain_texts(raw_rows, source) for source in source_columns)
        )
    for column_name, source_columns in table_spec.join.items():
        source_texts = [_plain_texts(raw_rows, source) for source in source_columns]
        mapped_columns[column_name] = pc.binary_join_element_wise(
            *source_texts, _separator(table_spec, column_name, time_spec), null_handling="skip"
        )
    for source in table_spec.filter_columns:
        mapped_columns[filter_column(source)] = raw_rows[source]
    return pa.table(mapped_columns)


def _separator(table_spec: TableSpec, column_name: str, time_spec: TimeSpec) -> str:
    """Text between joined texts; that of a date and a time follows from the time's pattern."""
    if table_spec.join_separator is not None:
        return table_spec.join_separator
    has_comma = any(", " in pattern for pattern in time_spec.patterns)
    return " " if column_name == c.OCCURRED_AT and not has_comma else ", "


def _plain_texts(raw_rows: pa.Table, source: str) -> pa.Array:
    """Texts of a source column; whole floating-point numbers have no decimal point."""
    column = raw_rows[source].combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    with text_errors(source, column):
        if pa.types.is_string(column.type) or pa.types.is_temporal(column.type):
            return column.cast(pa.string())
        return id_texts(column, ()).texts


def _rebatch(batches: Iterator[pa.RecordBatch], batch_rows: int) -> Iterator[pa.Table]:
    """Combine batches into tables of ``batch_rows`` rows.

    A table is shorter at the end, before a change of column types, and where more rows would
    exceed ``MAX_BATCH_BYTES``.
    """
    waiting_rows = pa.table({})
    for record_batch in batches:
        batch_rows_table = pa.Table.from_batches([record_batch])
        n_bytes = waiting_rows.nbytes + batch_rows_table.nbytes
        if waiting_rows.num_rows and (
            waiting_rows.schema != batch_rows_table.schema or n_bytes > MAX_BATCH_BYTES
        ):
            yield waiting_rows
            waiting_rows = pa.table({})
        waiting_rows = (
            pa.concat_tables([waiting_rows, batch_rows_table])
            if waiting_rows.num_rows
            else batch_rows_table
        )
        n_full = waiting_rows.num_rows - waiting_rows.num_rows % batch_rows
        yield from (
            waiting_rows.slice(start_row, batch_rows) for start_row in range(0, n_full, batch_rows)
        )
        waiting_rows = waiting_rows.slice(n_full)
    if waiting_rows.num_rows:
        yield waiting_rows
