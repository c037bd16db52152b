"""Read a dataset's tables under contract names."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import SourceError
from chronotope.contracts.ids import event_ids
from chronotope.contracts.schemas import INSTANT, ITEMS, SURROUNDINGS, USERS
from chronotope.datasets.budget import MAX_BATCH_BYTES
from chronotope.datasets.city import city_items
from chronotope.datasets.databases import rows_since, stream_query
from chronotope.datasets.files import stream_file
from chronotope.datasets.parsing import as_instants, as_numbers
from chronotope.datasets.simulation import simulate_events
from chronotope.datasets.spec import DatasetSpec, FeedSpec, Format, TableSpec

_JOINED_BY = ", "


def read_events(spec: DatasetSpec, *, batch_rows: int = 200_000) -> Iterator[pa.Table]:
    """Stream the log in the order of the source, in bounded memory.

    Args:
        spec: The dataset.
        batch_rows: Rows of each table; the last may have fewer.

    Yields:
        Columns under contract names, values as read: see ``normalise``.

    Raises:
        SourceError: The source is missing, empty, truncated or unreadable.
        SchemaError: Mapped columns are missing.
    """
    n_rows = 0
    for batch in _raw_events(spec, batch_rows):
        n_rows += batch.num_rows
        yield batch
    if n_rows == 0:
        raise SourceError(
            "The log holds no rows", received=spec.name, way_out="Check path, query or delivery"
        )


def read_items(spec: DatasetSpec) -> pa.Table:
    """The catalogue: the columns of ``ITEMS``, then attributes; no rows if there is none.

    Raises:
        SourceError: The source is missing, empty, truncated or unreadable.
        SchemaError: Mapped columns are missing.
    """
    if spec.city is not None:
        return city_items(spec.city)
    return _read_table(spec.items, spec, ITEMS)


def read_users(spec: DatasetSpec) -> pa.Table:
    """User attributes: ``user_id``, then attributes; no rows if there are none.

    Raises:
        SourceError: The source is missing, empty, truncated or unreadable.
        SchemaError: Mapped columns are missing.
    """
    return _read_table(spec.users, spec, USERS)


def read_context_table(spec: DatasetSpec) -> pa.Table:
    """Readings: the columns of ``SURROUNDINGS``, then numbers; no rows if there are none.

    A second reading of one place and moment has the ``event_id`` of the first.

    Raises:
        SourceError: The source is missing, empty or unreadable, or a time in it is.
        SchemaError: Mapped columns are missing.
    """
    table = spec.surroundings
    if table is None:
        return SURROUNDINGS.empty_table()
    read = _whole(table, spec)
    kinds = pa.schema([pa.field(c.PLACE_ID, pa.string())])
    numbers, raw = _typed_table(table, read, kinds), read[c.OCCURRED_AT].combine_chunks()
    instants, skipped = as_instants(raw, spec.time)
    if instants.null_count or skipped.any():
        wrong = raw.filter(pc.or_(instants.is_null(), pa.array(skipped)))
        raise SourceError(
            f"{len(wrong):,} times of the surroundings cannot be read as {spec.time.kind}",
            received=wrong[0],
            way_out="Correct the table, or `time` in the dataset's YAML, which it shares",
        )
    until = pc.add(instants, pa.scalar(round(3.6e9 * table.valid_h), pa.duration("us")))
    ids = event_ids([instants, numbers[c.PLACE_ID]])
    readings = [numbers[name] for name in table.context]
    fields = [*SURROUNDINGS, *(pa.field(name, pa.float64()) for name in table.context)]
    columns = [ids, instants, until.cast(INSTANT), numbers[c.PLACE_ID], *readings]
    return pa.table(columns, schema=pa.schema(fields))


def read_feed(
    feed: FeedSpec, url: str, *, since: int | float | str | None, limit: int
) -> tuple[list[object], pa.Table]:
    """What was appended to a table: values of the growing column, rows under contract names.

    Args:
        feed: The table.
        url: Address of its database.
        since: Rows from this value of the growing column on; None for all.
        limit: Most rows.

    Raises:
        SourceError: The database cannot be reached, refuses the query or finds no such column.
    """
    found = rows_since(feed, url, since, limit)
    if found is None:
        return [], pa.table({})
    raw = pa.Table.from_batches([found])
    return raw[feed.after].to_pylist(), _mapped(feed, raw)


def _raw_events(spec: DatasetSpec, batch_rows: int) -> Iterator[pa.Table]:
    if spec.city is not None:
        yield from simulate_events(spec.city, batch_events=batch_rows)
    if spec.events is not None:
        for raw in _rebatched(_stream(spec.events, spec, batch_rows), batch_rows):
            yield _mapped(spec.events, raw)


def _read_table(table: TableSpec | None, spec: DatasetSpec, schema: pa.Schema) -> pa.Table:
    if table is None:
        return schema.empty_table()
    return _typed_table(table, _whole(table, spec), schema)


def _whole(table: TableSpec, spec: DatasetSpec) -> pa.Table:
    """All of a table under contract names, values as read."""
    batches = [pa.Table.from_batches([b]) for b in _stream(table, spec, 200_000)]
    if not batches:
        raise SourceError("A table holds no rows", received=table.path or table.query)
    return _mapped(table, pa.concat_tables(batches, promote_options="permissive"))


def _typed_table(table: TableSpec, mapped: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, then context as numbers and attributes as text."""
    fields = list(schema)
    fields += [pa.field(name, pa.float64()) for name in table.context]
    fields += [pa.field(name, pa.string()) for name in table.attributes]
    return pa.table([_typed(mapped, f) for f in fields], schema=pa.schema(fields))


def _typed(table: pa.Table, field: pa.Field) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table[field.name].combine_chunks()
    if field.type == pa.float64():
        return as_numbers(column)
    return column.cast(pa.string())


def _stream(table: TableSpec, spec: DatasetSpec, batch_rows: int) -> Iterator[pa.RecordBatch]:
    if table.format is Format.SQL:
        return stream_query(table, batch_rows=batch_rows)
    return stream_file(table, spec.data_dir, batch_rows=batch_rows)


def _mapped(table: TableSpec, raw: pa.Table) -> pa.Table:
    columns = {name: raw[source] for name, source in table.sources.items()}
    for name, sources in table.coalesce.items():
        columns[name] = pc.coalesce(*(raw[source].cast(pa.string()) for source in sources))
    for name, sources in table.join.items():
        texts = [raw[source].cast(pa.string()) for source in sources]
        columns[name] = pc.binary_join_element_wise(*texts, _JOINED_BY, null_handling="skip")
    return pa.table(columns)


def _rebatched(batches: Iterator[pa.RecordBatch], batch_rows: int) -> Iterator[pa.Table]:
    """Tables of ``batch_rows`` rows.

    Shorter ones come at the end, where column types change, and where texts are so long that
    they would not fit in memory.
    """
    waiting = pa.table({})
    for batch in batches:
        table = pa.Table.from_batches([batch])
        n_bytes = waiting.nbytes + table.nbytes
        if waiting.num_rows and (waiting.schema != table.schema or n_bytes > MAX_BATCH_BYTES):
            yield waiting
            waiting = pa.table({})
        waiting = pa.concat_tables([waiting, table]) if waiting.num_rows else table
        full = waiting.num_rows - waiting.num_rows % batch_rows
        yield from (waiting.slice(at, batch_rows) for at in range(0, full, batch_rows))
        waiting = waiting.slice(full)
    if waiting.num_rows:
        yield waiting
