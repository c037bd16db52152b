"""Index of the item context for a feature snapshot or the service, from rows of the lake."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_context import FOREVER_S, ItemContext, ItemContextColumn
from chronotope.contracts.user_attributes import MAX_LEVELS, N_RANGES, AttributeValue

MIN_ROWS: Final = 20
"""Rows that a level of a text column needs; values of fewer rows count as the default."""

MAX_SAMPLED_ROWS: Final = 1 << 20
"""Rows of a batch from which the ranges of a column of numbers are computed, about."""

RowReader = Callable[[list[str]], Iterable[pa.RecordBatch]]
"""Reads some columns of all rows, each time from the first one."""


def item_context_columns(
    read_rows: RowReader, defaults: Mapping[str, AttributeValue]
) -> tuple[ItemContextColumn, ...]:
    """Columns with their levels: the most frequent texts, and ranges at quantiles of numbers.

    Args:
        read_rows: Rows of the lake.
        defaults: Default of each column; a number makes it a column of numbers.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in defaults}
    numbers: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in defaults}
    for batch in read_rows(list(defaults)):
        for name, default in defaults.items():
            if isinstance(default, str):
                value_counts = pc.value_counts(batch.column(name).drop_null())
                counts[name].update(
                    {row["values"]: row["counts"] for row in value_counts.to_pylist()}
                )
            else:
                values = _numbers(batch.column(name))[:: 1 + len(batch) // MAX_SAMPLED_ROWS]
                numbers[name].append(values[np.isfinite(values) & (values != default)])
    columns: list[ItemContextColumn] = []
    for name, default in defaults.items():
        first = 1 + sum(len(column.levels) for column in columns)
        edges: tuple[float, ...] = ()
        if isinstance(default, str):
            levels = _text_levels(counts[name], default)
        else:
            edges = _range_edges(np.concatenate([np.zeros(0), *numbers[name]]))
            levels = tuple(f"range {number}" for number in range(len(edges) + 1))
        if levels:
            columns.append(
                ItemContextColumn(
                    name=name, first=first, levels=levels, edges=edges, default=default
                )
            )
    return tuple(columns)


class EncodedRows(NamedTuple):
    """Rows of known items that hold at known places or everywhere.

    Attributes:
        place_idx, from_s, until_s, item_idx: Keys of the rows, shape (n,) each.
        levels: Levels of the rows, shape (n, n_columns).
    """

    place_idx: npt.NDArray[np.int32]
    from_s: npt.NDArray[np.int64]
    until_s: npt.NDArray[np.int64]
    item_idx: npt.NDArray[np.int32]
    levels: npt.NDArray[np.uint16]

    @classmethod
    def empty(cls, n_columns: int) -> Self:
        """No rows."""
        no_idx, no_seconds = np.zeros(0, np.int32), np.zeros(0, np.int64)
        return cls(no_idx, no_seconds, no_seconds, no_idx, np.zeros((0, n_columns), np.uint16))

    def followed_by(self, *later: Self) -> Self:
        """These rows, then those of others."""
        return type(self)(*map(np.concatenate, zip(self, *later, strict=True)))


def build_item_context(
    read_rows: RowReader, columns: tuple[ItemContextColumn, ...], items: IdMap, places: IdMap
) -> ItemContext:
    """Index of the rows of known items that hold at known places or everywhere.

    Args:
        read_rows: Rows of the lake.
        columns: Columns and their levels.
        items: Ids of the items.
        places: Ids of the places.
    """
    return ItemContext.of_rows(columns, *encode_rows(read_rows, columns, items, places))


def encode_rows(
    read_rows: RowReader, columns: tuple[ItemContextColumn, ...], items: IdMap, places: IdMap
) -> EncodedRows:
    """Rows in indices of items, places and levels; arguments as of ``build_item_context``."""
    names = [c.ITEM_ID, c.PLACE_ID, c.VALID_FROM, c.VALID_UNTIL]
    parts: list[EncodedRows] = []
    for batch in read_rows([*names, *(column.name for column in columns)]):
        item_idx = items.index(batch.column(c.ITEM_ID))
        place_idx = places.index(batch.column(c.PLACE_ID))
        is_everywhere = pc.equal(batch.column(c.PLACE_ID), "").to_numpy(zero_copy_only=False)
        is_known = (item_idx > 0) & ((place_idx > 0) | is_everywhere)
        levels = [encode_levels(column, batch.column(column.name)) for column in columns]
        stacked = np.stack(levels, axis=1) if levels else np.zeros((len(batch), 0), np.uint16)
        until_s = _seconds(batch.column(c.VALID_UNTIL))
        arrays = (place_idx, _seconds(batch.column(c.VALID_FROM)), until_s, item_idx, stacked)
        parts.append(EncodedRows(*(array[is_known] for array in arrays)))
    return EncodedRows.empty(len(columns)).followed_by(*parts)


def encode_levels(column: ItemContextColumn, values: pa.Array) -> npt.NDArray[np.uint16]:
    """Index of the level of each value, shape (n,); 0 for the default and for null."""
    if column.edges:
        numbers = _numbers(values)
        level = column.first + np.searchsorted(np.array(column.edges), numbers, side="right")
        is_default = ~np.isfinite(numbers) | (numbers == column.default)
        return np.where(is_default, 0, level).astype(np.uint16)
    encoded = values.dictionary_encode()
    level_of = [column.level(value) for value in encoded.dictionary.to_pylist()]
    value_idx = encoded.indices.fill_null(len(level_of)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*level_of, 0], np.uint16)[value_idx], np.uint16)


def _text_levels(counts: Counter[str], default: str) -> tuple[str, ...]:
    frequent = [
        (-n_rows, value)
        for value, n_rows in counts.items()
        if n_rows >= MIN_ROWS and value != default
    ]
    return tuple(sorted(value for _, value in sorted(frequent)[:MAX_LEVELS]))


def _range_edges(numbers: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Bounds between ranges of about as many rows each; none where all values are equal."""
    if not len(numbers):
        return ()
    shares = np.arange(1, N_RANGES) / N_RANGES
    edges = np.unique(np.quantile(numbers, shares, method="higher"))
    return tuple(edges.tolist())


def _numbers(values: pa.Array) -> npt.NDArray[np.float64]:
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _seconds(instants: pa.Array) -> npt.NDArray[np.int64]:
    """UTC seconds, rounded up, so that a row never counts before its start; null: no end."""
    micros = instants.cast(pa.int64()).fill_null(FOREVER_S * 1_000_000)
    return np.asarray(-(-micros.to_numpy(zero_copy_only=False) // 1_000_000), np.int64)
