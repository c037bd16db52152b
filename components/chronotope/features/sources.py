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
    surroundings: tuple[str, ...] = Field(
        (), description="Readings joined as of the event's time, such as the weather"
    )


def register_sources(
    con: duckdb.DuckDBPyConnection,
    events: EventsSource,
    items: pa.Table | None,
    config: FeaturesConfig,
) -> None:
    """Make the views ``raw`` and ``full_items``, with null for what a source lacks.

    Args:
        con: Connection to make them in.
        events: Columns of ``EVENTS``; the optional ones may be missing.
        items: Columns of ``ITEMS``; None if there is no items table.
        config: Which context columns to take along.

    Raises:
        SchemaError: A required column is missing.
        ConfigError: A context column is missing or not numeric.
    """
    con.execute("SET TimeZone = 'UTC'")
    if isinstance(events, pa.Table | pads.Dataset | pa.RecordBatchReader):
        con.register("source", events)
    else:
        con.read_parquet(list(events), union_by_name=True).create_view("source")
    names = con.table("source").columns
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise SchemaError(f"Events lack the columns {missing}", received=names)
    _check_context(con.table("source"), config)
    con.register("empty_events", pa.schema([*EVENTS, (c.CATEGORY, pa.string())]).empty_table())
    con.register("empty_items", ITEMS.empty_table())
    con.register("source_items", ITEMS.empty_table() if items is None else items)
    con.execute(queries.SOURCES)
    plain = map(duckdb.ColumnExpression, [*EVENTS.names, c.CATEGORY])
    context = [duckdb.ColumnExpression(n).cast("FLOAT").alias(n) for n in config.context]
    con.table("full_source").select(*plain, *context).create_view("raw")


def _check_context(source: duckdb.DuckDBPyRelation, config: FeaturesConfig) -> None:
    types = dict(zip(source.columns, map(str, source.types), strict=True))
    wrong = {
        name: types.get(name, "missing")
        for name in config.context
        if not types.get(name, "missing").startswith(_NUMERIC)
    }
    if wrong:
        raise ConfigError(
            "Context columns must be numeric columns of the events",
            received=wrong,
            way_out="Correct `context` in the features' configuration",
        )
