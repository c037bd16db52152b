"""Readings of what surrounds events, joined as of a moment: for a log, and for one request."""

from collections.abc import Sequence
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.eventlog import Float32
from chronotope.contracts.schemas import INSTANT

_AS_OF: Final = """
WITH readings AS (
    SELECT *, epoch_us(occurred_at) AS us, epoch_us(valid_until) AS until_us FROM surroundings
),
here AS (FROM readings WHERE place_id IS NOT NULL),
everywhere AS (FROM readings WHERE place_id IS NULL)
SELECT asked.* EXCLUDE (place_id) {columns}
FROM asked
ASOF LEFT JOIN here ON asked.place_id = here.place_id AND asked.us >= here.us
ASOF LEFT JOIN everywhere ON asked.us >= everywhere.us
"""
_COLUMN: Final = """,
coalesce(CASE WHEN asked.us < here.until_us THEN here.{name} END,
         CASE WHEN asked.us < everywhere.until_us THEN everywhere.{name} END)::FLOAT AS {name}
"""
_ASKED: Final = """
CREATE TEMP TABLE asked AS
SELECT user_id, occurred_us AS us, lag(at_place IGNORE NULLS) OVER w AS place_id
FROM (SELECT user_id, occurred_us, arg_max(at_place, event_id) AS at_place
      FROM ev_place GROUP BY user_id, occurred_us)
WINDOW w AS (PARTITION BY user_id ORDER BY occurred_us)
"""
"""Each basket is asked about from where the user was before it: its own place is the answer."""
_NOTHING: Final = """
CREATE TEMP TABLE asked AS
SELECT NULL::VARCHAR AS user_id, NULL::BIGINT AS us, NULL::VARCHAR AS place_id WHERE false
"""


def join(con: duckdb.DuckDBPyConnection, table: pa.Table | None, columns: Sequence[str]) -> None:
    """Make the table ``around`` of readings by ``user_id`` and ``us``, a row a basket.

    Args:
        con: Connection that holds ``ev_place``.
        table: Columns of ``SURROUNDINGS`` and the readings; None if there is none.
        columns: Readings to take along.

    Raises:
        ConfigError: There is no such reading.
    """
    con.execute(_ASKED if columns else _NOTHING)
    con.register("surroundings", _empty(columns) if table is None else table)
    con.execute(f"CREATE TEMP TABLE around AS {_query(con, columns)}")


def as_of(
    table: pa.Table, columns: Sequence[str], *, at_us: Sequence[int], places: Sequence[str | None]
) -> dict[str, Float32]:
    """The readings that hold at some moments, by the same SQL as for a log.

    The latest reading at or before the moment, of the place or else of everywhere; NaN if
    there is none, if it has expired, or if it lacks the number.

    Args:
        table: Columns of ``SURROUNDINGS`` and the readings.
        columns: Readings to look up.
        at_us: UTC microseconds since 1970, shape (n,).
        places: Where, shape (n,); None if unknown.

    Returns:
        Values by column, shape (n,) each.

    Raises:
        ConfigError: There is no such reading.
    """
    rows = pa.array(range(len(at_us)), pa.int64())
    us, where = pa.array(at_us, pa.int64()), pa.array(places, pa.string())
    with duckdb.connect() as con:
        con.register("surroundings", table)
        con.register("asked", pa.table({"row": rows, "us": us, "place_id": where}))
        found = con.sql(_query(con, columns) + " ORDER BY row").to_arrow_table()
    values = {name: found[name].to_numpy(zero_copy_only=False) for name in columns}
    return {name: np.asarray(of, dtype=np.float32) for name, of in values.items()}


def _query(con: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> str:
    con.execute("SET TimeZone = 'UTC'")
    known = con.table("surroundings").columns
    if missing := [name for name in columns if name not in known]:
        raise ConfigError(
            f"The surroundings have no columns {missing}",
            received=known,
            way_out="Correct `surroundings` in the dataset's YAML, or ingest it again",
        )
    quoted = (str(duckdb.ColumnExpression(name)) for name in columns)
    return _AS_OF.format(columns="".join(_COLUMN.format(name=name) for name in quoted))


def _empty(columns: Sequence[str]) -> pa.Table:
    kinds = {c.OCCURRED_AT: INSTANT, c.VALID_UNTIL: INSTANT, c.PLACE_ID: pa.string()}
    return pa.schema([*kinds.items(), *((name, pa.float64()) for name in columns)]).empty_table()
