"""Readings of what surrounds events, joined as of a moment: for a log, and for one request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import duckdb
import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float32, Int64
from chronotope.contracts.ids import UNKNOWN, IdMap

_ASKED: Final = """
SELECT user_id, occurred_us AS us, lag(at_place IGNORE NULLS) OVER w AS place_id
FROM (SELECT user_id, occurred_us, arg_max(at_place, event_id) AS at_place
      FROM ev_place GROUP BY user_id, occurred_us)
WINDOW w AS (PARTITION BY user_id ORDER BY occurred_us)
"""
"""Each basket is asked about from where the user was before it: its own place is the answer."""
_NOTHING: Final = "SELECT NULL::VARCHAR AS user_id, NULL::BIGINT AS us WHERE false"


@dataclass(frozen=True, slots=True)
class ContextReadings:
    """Readings ordered by place and moment; a lookup is two binary searches.

    Attributes:
        columns: Names of the numbers.
        places: Ids of places; index 0 is everywhere.
        moments_us: Distinct moments, increasing, UTC microseconds.
        key: Place and moment of each reading as one increasing number, shape (n,).
        until_us: When each reading ends, UTC microseconds, shape (n,).
        values: NaN where a reading lacks the number, shape (n, n_columns).
    """

    columns: tuple[str, ...]
    places: IdMap
    moments_us: Int64
    key: Int64
    until_us: Int64
    values: Float32

    @classmethod
    def of(cls, table: pa.Table, columns: Sequence[str]) -> Self:
        """Order a table.

        Args:
            table: Columns of ``SURROUNDINGS`` and the readings.
            columns: Readings to take along.

        Raises:
            ConfigError: There is no such reading.
        """
        if missing := [name for name in columns if name not in table.column_names]:
            raise ConfigError(
                f"The surroundings have no columns {missing}",
                received=table.column_names,
                way_out="Correct `surroundings` in the dataset's YAML, or ingest it again",
            )
        places = IdMap.of(table[c.PLACE_ID])
        moments, rank = np.unique(_micros(table[c.OCCURRED_AT]), return_inverse=True)
        key = places.index(table[c.PLACE_ID]) * (len(moments) + 1) + rank + 1
        order = np.argsort(key, kind="stable")
        numbers = [np.asarray(table[name].to_numpy(), dtype=np.float32) for name in columns]
        return cls(
            tuple(columns),
            places,
            moments,
            key[order],
            _micros(table[c.VALID_UNTIL])[order],
            np.stack(numbers, axis=1)[order] if numbers else np.empty((len(key), 0), np.float32),
        )

    def as_of(self, at_us: Int64, places: Sequence[str | None] | pa.Array) -> Float32:
        """The readings that hold at some moments, NaN if there are none, (n, n_columns).

        The latest reading at or before the moment, of the place; where that has ended or
        lacks the number, the latest of everywhere.

        Args:
            at_us: UTC microseconds since 1970, shape (n,).
            places: Where, shape (n,); None if unknown.
        """
        where = self.places.index(pa.array(places, pa.string()))
        here, everywhere = (self._latest(at_us, of) for of in (where, np.zeros_like(where)))
        return np.where(np.isnan(here) | (where == UNKNOWN)[:, None], everywhere, here)

    def _latest(self, at_us: Int64, place: np.ndarray) -> Float32:
        rank = np.searchsorted(self.moments_us, at_us, side="right")
        first = place.astype(np.int64) * (len(self.moments_us) + 1)
        at = np.searchsorted(self.key, first + rank, side="right") - 1
        found = (at >= 0) & (self.key[at] > first) & (at_us < self.until_us[at])
        return np.where(found[:, None], self.values[at], np.float32(np.nan))


def join_context(
    con: duckdb.DuckDBPyConnection, table: pa.Table | None, columns: Sequence[str]
) -> None:
    """Make ``around``, readings by ``user_id`` and ``us``, a row a basket.

    Args:
        con: Connection that holds ``ev_place``.
        table: Columns of ``SURROUNDINGS`` and the readings; None if there is none.
        columns: Readings to take along.

    Raises:
        ConfigError: There is no such reading.
    """
    if not columns:
        con.execute(f"CREATE TEMP TABLE around AS {_NOTHING}")
        return
    asked = con.sql(_ASKED).to_arrow_table()
    found = np.full((len(asked), len(columns)), np.nan, np.float32)
    if table is not None and len(table):
        readings = ContextReadings.of(table, columns)
        found = readings.as_of(asked["us"].to_numpy(), asked["place_id"].combine_chunks())
    around = {name: pa.array(found[:, n]) for n, name in enumerate(columns)}
    keys = {"user_id": asked["user_id"], "us": asked["us"]}
    con.register("around", pa.table(keys | around))


def _micros(column: pa.ChunkedArray) -> Int64:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
