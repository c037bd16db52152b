"""As-of join of the context table, such as weather, to an event log and to single requests."""

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

_BASKET_PLACES: Final = """
SELECT user_id, occurred_us AS us, lag(at_place IGNORE NULLS) OVER w AS place_id
FROM (SELECT user_id, occurred_us, arg_max(at_place, event_id) AS at_place
      FROM ev_place GROUP BY user_id, occurred_us)
WINDOW w AS (PARTITION BY user_id ORDER BY occurred_us)
"""
"""User, time and previous place of each basket: its own place is part of the target."""
_NO_BASKETS: Final = "SELECT NULL::VARCHAR AS user_id, NULL::BIGINT AS us WHERE false"


@dataclass(frozen=True, slots=True)
class ContextReadings:
    """Readings of the context table ordered by place and time; a lookup is two binary searches.

    Attributes:
        columns: Names of the context columns.
        places: Place ids; readings without a place have index 0 and apply everywhere.
        moments_us: Distinct times of readings, increasing, UTC microseconds.
        key: Place and time of each reading as one increasing number, shape (n,).
        until_us: End of the validity of each reading, UTC microseconds, shape (n,).
        values: Values of the context columns, NaN if missing, shape (n, n_columns).
    """

    columns: tuple[str, ...]
    places: IdMap
    moments_us: Int64
    key: Int64
    until_us: Int64
    values: Float32

    @classmethod
    def from_table(cls, reading_rows: pa.Table, reading_names: Sequence[str]) -> Self:
        """Index the readings of a context table.

        Args:
            reading_rows: Columns of ``CONTEXT`` and the context columns.
            reading_names: Names of the context columns to include.

        Raises:
            ConfigError: The table lacks one of these columns.
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
        """Values of the readings that are valid at given times and places.

        The value is that of the latest reading of the place at or before the time; if that is
        no longer valid or lacks the value, of the latest reading without a place.

        Args:
            at_us: Times, UTC microseconds since 1970, shape (n,).
            places: Place ids, shape (n,); None if unknown.

        Returns:
            Values, NaN where no reading is valid, shape (n, n_columns).
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
    """Create the table ``basket_context``: context columns by ``user_id`` and ``us`` of a basket.

    Args:
        connection: DuckDB connection that has the view ``ev_place``.
        reading_rows: Columns of ``CONTEXT`` and the context columns; None if there are none.
        reading_names: Names of the context columns to include.

    Raises:
        ConfigError: The context table lacks one of these columns.
    """
    if not reading_names:
        connection.execute(f"CREATE TEMP TABLE basket_context AS {_NO_BASKETS}")
        return
    basket_rows = connection.sql(_BASKET_PLACES).to_arrow_table()
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
    connection.register("basket_context", pa.table(basket_keys | context_columns))


def _micros(column: pa.ChunkedArray) -> Int64:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
