"""Rows of a frame of which a few vectorised checks prove that an ingestion refuses none.

What is checked are the distinct ids and the ranges of the columns, against the same rules and the
same suite as ``chronotope ingest``. Where they do not prove it, the rows are ingested.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.event_bounds import MAX_UTC_OFFSET_MIN
from chronotope.contracts.event_log import Float64, Int32, Int64
from chronotope.contracts.ids import DIGEST_CHARS, UNKNOWN, IdMap
from chronotope.contracts.validation_result import FailedExpectation
from chronotope.datasets.parsing import as_instants, as_numbers
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.text_options import TextOptions
from chronotope.datasets.values.id_texts import id_texts
from chronotope.validation.suite_bounds import ColumnRange, ColumnRanges, range_findings

MICROS_PER_S: Final = 1_000_000

_SIMPLE_COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT, c.VALUE)
"""Columns that are checked here, besides numeric context; rows with others are ingested."""


@dataclass(frozen=True, slots=True)
class EncodedIds:
    """A column of ids by index.

    Attributes:
        ids: The distinct ids, in lexicographic order.
        row_idx: Index of the id of each row, from 1, shape (n_rows,).
    """

    ids: IdMap
    row_idx: Int32

    def take(self, row_positions: npt.NDArray[np.integer]) -> "EncodedIds":
        """Some rows, and the ids that occur in them.

        Args:
            row_positions: Positions of the rows.
        """
        row_idx = self.row_idx[row_positions]
        is_present = np.zeros(self.ids.size, np.bool_)
        is_present[row_idx] = True
        new_idx = np.cumsum(is_present, dtype=np.int32)
        return EncodedIds(IdMap(self.ids.ids.filter(pa.array(is_present[1:]))), new_idx[row_idx])

    def texts(self) -> pa.DictionaryArray:
        """Text of each row."""
        return pa.DictionaryArray.from_arrays(pa.array(self.row_idx - 1), self.ids.ids)


@dataclass(frozen=True, slots=True)
class CleanRows:
    """Rows of a frame that all pass, in the order of the frame; no memory is shared with it.

    Attributes:
        users: Users.
        items: Items.
        occurred_us: UTC microseconds, shape (n_rows,).
        numbers: ``value`` and context columns that the frame has, NaN for missing, (n_rows,) each.
        findings: Failed expectations that refuse no row.
    """

    users: EncodedIds
    items: EncodedIds
    occurred_us: Int64
    numbers: dict[str, Float64]
    findings: tuple[FailedExpectation, ...]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.occurred_us)

    def take(self, row_positions: npt.NDArray[np.integer]) -> "CleanRows":
        """Some rows.

        Args:
            row_positions: Their positions.
        """
        taken_numbers = {name: values[row_positions] for name, values in self.numbers.items()}
        return CleanRows(
            self.users.take(row_positions),
            self.items.take(row_positions),
            self.occurred_us[row_positions],
            taken_numbers,
            self.findings,
        )

    def table(self, start_row: int = 0, n_rows: int | None = None) -> pa.Table:
        """Rows under contract names: texts, UTC instants, numbers.

        Args:
            start_row: First row.
            n_rows: Number of rows; None goes to the last.
        """
        rows = slice(start_row, None if n_rows is None else start_row + n_rows)
        instants = pa.array(self.occurred_us[rows]).cast(pa.timestamp("us", tz="UTC"))
        number_arrays = {
            name: pa.array(values[rows], from_pandas=True) for name, values in self.numbers.items()
        }
        id_arrays = {
            name: EncodedIds(encoded.ids, encoded.row_idx[rows]).texts()
            for name, encoded in ((c.USER_ID, self.users), (c.ITEM_ID, self.items))
        }
        return pa.table({**id_arrays, c.OCCURRED_AT: instants, **number_arrays})


def find_clean_rows(
    dataset_spec: DatasetSpec, raw_rows: pa.Table, suite_path: Path
) -> CleanRows | None:
    """Check the rows of a frame without ingesting them.

    Args:
        dataset_spec: Types and columns of the rows.
        raw_rows: Rows with contract column names and the values of the frame.
        suite_path: Suite of the events.

    Returns:
        The rows; None where a row may be refused or a column needs the checks of an ingestion.
    """
    number_columns = [name for name in raw_rows.column_names if name not in _SIMPLE_COLUMNS[:3]]
    if set(number_columns) - {c.VALUE, *dataset_spec.context_columns}:
        return None
    text_options = dataset_spec.events or TextOptions()
    users = encode_ids(raw_rows[c.USER_ID], text_options.null_values)
    items = encode_ids(raw_rows[c.ITEM_ID], text_options.null_values)
    if users is None or items is None:
        return None
    occurred_us = _utc_micros(raw_rows[c.OCCURRED_AT], dataset_spec)
    if occurred_us is None:
        return None
    numbers = {name: _clean_numbers(raw_rows[name]) for name in number_columns}
    findings = range_findings(
        suite_path,
        _column_ranges(users.ids, items.ids, occurred_us, dataset_spec.event_type),
        n_rows=len(raw_rows),
        checked_at=datetime.now(UTC),
    )
    clean_numbers = {name: values for name, values in numbers.items() if values is not None}
    if findings is None or len(clean_numbers) < len(numbers):
        return None
    return CleanRows(users, items, occurred_us, clean_numbers, findings)


def encode_ids(column: pa.ChunkedArray, null_values: tuple[str, ...]) -> EncodedIds | None:
    """Indices of a column of ids; its distinct values alone are read as texts.

    Args:
        column: The ids.
        null_values: Texts that stand for a missing id.

    Returns:
        The indices; None where a row has no id, or two values are one id.
    """
    if column.null_count:
        return None
    if pa.types.is_dictionary(column.type):  # may hold values that no row has
        column = column.cast(column.type.value_type)
    try:
        encoded = _single_array(column.dictionary_encode())
        distinct_ids = id_texts(encoded.dictionary, null_values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None  # the ingestion names the column
    if distinct_ids.refusals or distinct_ids.texts.null_count:
        return None
    id_order = pc.sort_indices(distinct_ids.texts)
    sorted_ids = distinct_ids.texts.take(id_order)
    if pc.count_distinct(sorted_ids).as_py() < len(sorted_ids):
        return None
    rank = np.empty(len(id_order), np.int32)  # (n_ids,), index of each value of the dictionary
    rank[id_order.to_numpy()] = np.arange(UNKNOWN + 1, len(id_order) + 1, dtype=np.int32)
    return EncodedIds(IdMap(sorted_ids), rank[encoded.indices.to_numpy()])


def _single_array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, without a copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _utc_micros(column: pa.ChunkedArray, dataset_spec: DatasetSpec) -> Int64 | None:
    """Times as UTC microseconds; None where one is missing, unread or skipped by the clocks."""
    if column.null_count:
        return None
    instants, is_skipped = as_instants(_single_array(column), dataset_spec.time)
    if instants.null_count or is_skipped.any():
        return None
    return np.array(instants.cast(pa.int64()), dtype=np.int64)


def _clean_numbers(column: pa.ChunkedArray) -> Float64 | None:
    """Numbers of a column, NaN for null; None for texts, NaN of another meaning, or infinity."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    numbers = as_numbers(_single_array(column))
    if numbers.null_count != column.null_count:
        return None
    extremes = pc.min_max(numbers)
    if not np.isfinite([extreme.as_py() or 0.0 for extreme in extremes.values()]).all():
        return None
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _column_ranges(users: IdMap, items: IdMap, occurred_us: Int64, event_type: str) -> ColumnRanges:
    """Ranges of the columns of ``derive_columns``."""
    # Zones are looked up when the log is read; each offset lies in this range.
    offset_range = ColumnRange(-MAX_UTC_OFFSET_MIN, MAX_UTC_OFFSET_MIN)
    time_extremes = (int(extreme) // MICROS_PER_S for extreme in _extremes(occurred_us))
    return {
        f"{c.EVENT_ID}_length": ColumnRange(DIGEST_CHARS, DIGEST_CHARS),
        f"{c.EVENT_ID}_repeated": ColumnRange(0, 0),  # found when the rows are sorted
        f"{c.USER_ID}_length": _length_range(users),
        f"{c.ITEM_ID}_length": _length_range(items),
        f"{c.EVENT_TYPE}_length": ColumnRange(len(event_type), len(event_type)),
        "occurred_s": ColumnRange(*time_extremes),
        c.UTC_OFFSET_MIN: offset_range,
        c.LAT: None,
        c.LON: None,
        "swapped": ColumnRange(0, 0),
        "item_known": None,
    }


def _extremes(values: Int64) -> tuple[np.int64, np.int64]:
    return values.min(), values.max()


def _length_range(id_map: IdMap) -> ColumnRange:
    extremes = pc.min_max(pc.utf8_length(id_map.ids)).as_py()
    return ColumnRange(extremes["min"], extremes["max"])
