"""Inputs of a feature snapshot: its configuration, and views of the source tables."""

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
"""Events as an Arrow table, dataset or stream (read once), or as paths of Parquet files."""

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
    """Selection of events and context columns for the numeric event log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items_are_places: bool = Field(
        False, description="Whether items are places, as in check-in data"
    )
    event_types: tuple[str, ...] = Field((), description="Event types to keep; empty keeps all")
    context: tuple[str, ...] = Field(
        (), description="Numeric event columns that are known before the user chooses an item"
    )
    context_table: tuple[str, ...] = Field(
        (), description="Columns of the context table to join by time, such as temperature_c"
    )
    item_context: dict[str, str | float] = Field(
        default_factory=dict, description="Columns of the item context, and their defaults"
    )


def register_sources(
    connection: duckdb.DuckDBPyConnection,
    events: EventsSource,
    items: pa.Table | None,
    config: FeaturesConfig,
) -> None:
    """Create the views ``raw`` (events) and ``full_items``; missing optional columns are null.

    Args:
        connection: DuckDB connection to create the views in.
        events: Columns of ``EVENTS``; the optional ones may be missing.
        items: Columns of ``ITEMS``; None if there is no items table.
        config: Names of the context columns to include.

    Raises:
        SchemaError: A required column is missing.
        ConfigError: A context column is missing or not numeric.
    """
    register_items(connection, items)
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
    connection.execute(queries.EVENT_SOURCE)
    contract_columns = map(duckdb.ColumnExpression, [*EVENTS.names, c.CATEGORY])
    context_columns = [
        duckdb.ColumnExpression(column_name).cast("FLOAT").alias(column_name)
        for column_name in config.context
    ]
    connection.table("full_source").select(*contract_columns, *context_columns).create_view("raw")


def register_items(connection: duckdb.DuckDBPyConnection, items: pa.Table | None) -> None:
    """Create the view ``full_items``; missing optional columns are null.

    Args:
        connection: DuckDB connection to create the view in.
        items: Columns of ``ITEMS``; None if there is no items table.
    """
    connection.execute("SET TimeZone = 'UTC'")
    item_schema = pa.schema([*ITEMS, (c.PREDICTED_CATEGORY, pa.string())])
    connection.register("empty_items", item_schema.empty_table())
    connection.register("source_items", ITEMS.empty_table() if items is None else items)
    connection.execute(queries.ITEM_SOURCE)


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
            way_out="Correct `context` in the dataset's YAML, or ingest the events again",
        )
