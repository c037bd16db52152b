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
    def from_table(cls, reading_rows: pa.Table, reading_names: Sequence[str]) -> Self:
        """Order a table.

        Args:
            reading_rows: Columns of ``CONTEXT`` and the readings.
            reading_names: Readings to take along.

        Raises:
            ConfigError: There is no such reading.
        """
        if missing_columns := [
            column_name
            for column_name in reading_names
            if column_name not in reading_rows.column_names
        ]:
            raise ConfigError(
                f"The context table has no columns {missing_columns}",
                received=reading_rows.column_names,
                way_out="Correct `context_table` in the dataset's YAML, or ingest it again",
            )
        place_ids = IdMap.of(reading_rows[c.PLACE_ID])
        distinct_times, time_rank = np.unique(
            _micros(reading_rows[c.OCCURRED_AT]), return_inverse=True
        )
        reading_keys = (
            place_ids.index(reading_rows[c.PLACE_ID]) * (len(distinct_times) + 1) + time_rank + 1
        )
        key_order = np.argsort(reading_keys, kind="stable")
        reading_columns = [
            np.asarray(reading_rows[column_name].to_numpy(), dtype=np.float32)
            for column_name in reading_names
        ]
        return cls(
            tuple(reading_names),
            place_ids,
            distinct_times,
            reading_keys[key_order],
            _micros(reading_rows[c.VALID_UNTIL])[key_order],
            np.stack(reading_columns, axis=1)[key_order]
            if reading_columns
            else np.empty((len(reading_keys), 0), np.float32),
        )

    def as_of(self, at_us: Int64, places: Sequence[str | None] | pa.Array) -> Float32:
        """The readings that hold at some moments, NaN if there are none, (n, n_columns).

        The latest reading at or before the moment, of the place; where that has ended or
        lacks the number, the latest of everywhere.

        Args:
            at_us: UTC microseconds since 1970, shape (n,).
            places: Where, shape (n,); None if unknown.
        """
        place_idx = self.places.index(pa.array(places, pa.string()))
        local_values, global_values = (
            self._latest(at_us, lookup_places)
            for lookup_places in (place_idx, np.zeros_like(place_idx))
        )
        return np.where(
            np.isnan(local_values) | (place_idx == UNKNOWN)[:, None], global_values, local_values
        )

    def _latest(self, at_us: Int64, place_idx: np.ndarray) -> Float32:
        time_rank = np.searchsorted(self.moments_us, at_us, side="right")
        first_keys = place_idx.astype(np.int64) * (len(self.moments_us) + 1)
        reading_idx = np.searchsorted(self.key, first_keys + time_rank, side="right") - 1
        is_valid = (
            (reading_idx >= 0)
            & (self.key[reading_idx] > first_keys)
            & (at_us < self.until_us[reading_idx])
        )
        return np.where(is_valid[:, None], self.values[reading_idx], np.float32(np.nan))


def join_context(
    connection: duckdb.DuckDBPyConnection,
    reading_rows: pa.Table | None,
    reading_names: Sequence[str],
) -> None:
    """Make ``around``, readings by ``user_id`` and ``us``, a row a basket.

    Args:
        connection: Connection that holds ``ev_place``.
        reading_rows: Columns of ``CONTEXT`` and the readings; None if there is none.
        reading_names: Readings to take along.

    Raises:
        ConfigError: There is no such reading.
    """
    if not reading_names:
        connection.execute(f"CREATE TEMP TABLE around AS {_NOTHING}")
        return
    basket_rows = connection.sql(_ASKED).to_arrow_table()
    basket_values = np.full((len(basket_rows), len(reading_names)), np.nan, np.float32)
    if reading_rows is not None and len(reading_rows):
        context_readings = ContextReadings.from_table(reading_rows, reading_names)
        basket_values = context_readings.as_of(
            basket_rows["us"].to_numpy(), basket_rows["place_id"].combine_chunks()
        )
    context_columns = {
        column_name: pa.array(basket_values[:, column_idx])
        for column_idx, column_name in enumerate(reading_names)
    }
    basket_keys = {"user_id": basket_rows["user_id"], "us": basket_rows["us"]}
    connection.register("around", pa.table(basket_keys | context_columns))


def _micros(column: pa.ChunkedArray) -> Int64:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
