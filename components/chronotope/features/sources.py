"""What goes into a snapshot: the settings, and sources with every column of the contract."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, SchemaError
from chronotope.contracts.schemas import EVENTS, ITEMS, REQUIRED
from chronotope.features import queries

EventsSource: TypeAlias = pa.Table | pads.Dataset | pa.RecordBatchReader | Sequence[str]
"""Events as Arrow: a table, a dataset or a stream, read once; or as paths of Parquet files."""

_NUMERIC: Final = (
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)


class FeaturesConfig(BaseModel):
    """What of the events becomes the numeric log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items_are_places: bool = Field(
        False, description="The item is the place, as in a log of check-ins"
    )
    event_types: tuple[str, ...] = Field((), description="Event types to keep; empty keeps all")
    context: tuple[str, ...] = Field(
        (), description="Numeric event columns that are known before the choice"
    )
    context_table: tuple[str, ...] = Field(
        (), description="Readings joined as of the event's time, such as the weather"
    )


def register_sources(
    connection: duckdb.DuckDBPyConnection,
    events: EventsSource,
    items: pa.Table | None,
    config: FeaturesConfig,
) -> None:
    """Make the views ``raw`` and ``full_items``, with null for what a source lacks.

    Args:
        connection: Connection to make them in.
        events: Columns of ``EVENTS``; the optional ones may be missing.
        items: Columns of ``ITEMS``; None if there is no items table.
        config: Which context columns to take along.

    Raises:
        SchemaError: A required column is missing.
        ConfigError: A context column is missing or not numeric.
    """
    connection.execute("SET TimeZone = 'UTC'")
    if isinstance(events, pa.Table | pads.Dataset | pa.RecordBatchReader):
        connection.register("source", events)
    else:
        connection.read_parquet(list(events), union_by_name=True).create_view("source")
    source_columns = connection.table("source").columns
    missing_columns = [column_name for column_name in REQUIRED if column_name not in source_columns]
    if missing_columns:
        raise SchemaError(f"Events lack the columns {missing_columns}", received=source_columns)
    _check_context(connection.table("source"), config)
    connection.register(
        "empty_events", pa.schema([*EVENTS, (c.CATEGORY, pa.string())]).empty_table()
    )
    connection.register("empty_items", ITEMS.empty_table())
    connection.register("source_items", ITEMS.empty_table() if items is None else items)
    connection.execute(queries.SOURCES)
    contract_columns = map(duckdb.ColumnExpression, [*EVENTS.names, c.CATEGORY])
    context_columns = [
        duckdb.ColumnExpression(column_name).cast("FLOAT").alias(column_name)
        for column_name in config.context
    ]
    connection.table("full_source").select(*contract_columns, *context_columns).create_view("raw")


def _check_context(source_relation: duckdb.DuckDBPyRelation, config: FeaturesConfig) -> None:
    column_types = dict(zip(source_relation.columns, map(str, source_relation.types), strict=True))
    wrong_types = {
        column_name: column_types.get(column_name, "missing")
        for column_name in config.context
        if not column_types.get(column_name, "missing").startswith(_NUMERIC)
    }
    if wrong_types:
        raise ConfigError(
            "Context columns must be numeric columns of the events",
            received=wrong_types,
            way_out="Correct `context` in the features' configuration",
        )
