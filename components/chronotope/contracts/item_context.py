"""Item context: values of items that change, such as promotions, known before the choice.

Rows are valid for an item, at one place or everywhere, from one moment until another. They are
grouped in blocks of equal place and times, so that the rows of a request are a few slices. Values
are indices of levels over all columns, as of user attributes; index 0 is the default of a column.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.user_attributes import AttributeColumn, AttributeValue

ItemIndex = npt.NDArray[np.int32]
Levels = npt.NDArray[np.uint16]
Seconds = npt.NDArray[np.int64]

FOREVER_S: Final = 2**40
"""End of a row without an end, UTC seconds."""

_COLUMNS: Final = "item_context.json"
_ARRAYS: Final = (
    "block_place",
    "block_from_s",
    "block_until_s",
    "block_start",
    "item_idx",
    "levels",
)

ITEM_CONTEXT_FILES: Final = (_COLUMNS, *(f"item_context.{name}.npy" for name in _ARRAYS))
"""Files of an index below its folder."""


class ItemContextColumn(AttributeColumn):
    """One column and its levels; the default has index 0, as have values without a level."""

    default: AttributeValue = Field(description="Value of items without a row.")

    def level(self, value: AttributeValue | None) -> int:
        """Index of the level of a value; 0 for the default, null, and what has no level.

        Args:
            value: A text, or a number in a column of numbers.

        Raises:
            ConfigError: The column holds numbers and the value is none.
        """
        return 0 if value == self.default else super().level(value)


class ItemContextRows(NamedTuple):
    """Rows of B requests, padded to P rows by the unknown item.

    Attributes:
        item_idx: Items that differ from the defaults, int32, shape (B, P); 0 in padding.
        levels: Index of the level of each column, int32, shape (B, P, n_columns); 0: default.
    """

    item_idx: ItemIndex
    levels: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ItemContext:
    """Index of the rows by place and time.

    Blocks are ordered by place, then by start; rows of one block have different items. Where
    several rows of an item are valid, one of the place counts before one of everywhere, and a
    later start before an earlier one.

    Attributes:
        columns: The columns and their levels.
        block_place: Place of each block, 0 is everywhere, shape (n_blocks,).
        block_from_s, block_until_s: Start, and end (exclusive), UTC seconds, shape (n_blocks,).
        block_start: First row of each block, and the number of rows, shape (n_blocks + 1,).
        item_idx: Item of each row, shape (n_rows,).
        levels: Levels of each row, shape (n_rows, n_columns).
    """

    columns: tuple[ItemContextColumn, ...]
    block_place: npt.NDArray[np.int32]
    block_from_s: Seconds
    block_until_s: Seconds
    block_start: Seconds
    item_idx: ItemIndex
    levels: Levels

    @classmethod
    def of_rows(
        cls,
        columns: tuple[ItemContextColumn, ...],
        place_idx: npt.NDArray[np.int32],
        from_s: Seconds,
        until_s: Seconds,
        item_idx: ItemIndex,
        levels: Levels,
    ) -> Self:
        """Index of unordered rows; of rows with equal item, place and times the last one counts.

        Args:
            columns: The columns and their levels.
            place_idx: Place of each row, 0 is everywhere, shape (n,).
            from_s: Start of each row, UTC seconds, shape (n,).
            until_s: End of each row, exclusive, shape (n,).
            item_idx: Item of each row, shape (n,).
            levels: Levels of each row, shape (n, n_columns).
        """
        order = np.lexsort((item_idx, until_s, from_s, place_idx))  # stable: the last one stays
        place_idx, from_s, until_s = place_idx[order], from_s[order], until_s[order]
        item_idx, levels = item_idx[order], levels[order]
        starts_block = np.ones(len(order), np.bool_)
        starts_block[1:] = (
            (place_idx[1:] != place_idx[:-1])
            | (from_s[1:] != from_s[:-1])
            | (until_s[1:] != until_s[:-1])
        )
        is_last = np.ones(len(order), np.bool_)
        is_last[:-1] = starts_block[1:] | (item_idx[1:] != item_idx[:-1])
        first_row = np.flatnonzero(starts_block)
        block_start = np.concatenate([[0], np.cumsum(is_last)])[np.append(first_row, len(order))]
        return cls(
            columns,
            place_idx[first_row],
            from_s[first_row],
            until_s[first_row],
            block_start.astype(np.int64),
            item_idx[is_last],
            levels[is_last],
        )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.item_idx)

    def at(self, place_idx: npt.NDArray[np.integer], moments_s: Seconds) -> ItemContextRows:
        """Rows of requests that were valid, and so known, at their moments.

        Args:
            place_idx: Place of each request, shape (B,); 0 if unknown.
            moments_s: Moment of each request, UTC seconds, shape (B,).
        """
        row_slices = [
            self.rows_at(int(place), int(moment))
            for place, moment in zip(place_idx, moments_s, strict=True)
        ]
        width = max([1, *(len(rows) for rows, _ in row_slices)])
        items = np.zeros((len(row_slices), width), np.int32)
        levels = np.zeros((len(row_slices), width, len(self.columns)), np.int32)
        for query_idx, (row_items, row_levels) in enumerate(row_slices):
            items[query_idx, : len(row_items)] = row_items
            levels[query_idx, : len(row_items)] = row_levels
        return ItemContextRows(items, levels)

    def changes_s(self, place: int) -> Seconds:
        """Moments at which the rows of a place change, UTC seconds, increasing and unique.

        Args:
            place: A place, or 0 for the rows of everywhere.
        """
        first, end = np.searchsorted(self.block_place, [place, place + 1])
        bounds = (self.block_from_s[first:end], self.block_until_s[first:end])
        return np.unique(np.concatenate(bounds))

    def rows_at(self, place: int, moment_s: int) -> tuple[ItemIndex, Levels]:
        """Items and levels of one request, shapes (P,) and (P, n_columns); each item once.

        Args:
            place: Place of the request; 0 if unknown.
            moment_s: Moment of the request, UTC seconds.
        """
        blocks = [*self._blocks(UNKNOWN, moment_s)]
        if place != UNKNOWN:
            blocks += self._blocks(place, moment_s)
        if not blocks:
            return self.item_idx[:0], self.levels[:0]
        slices = [slice(self.block_start[block], self.block_start[block + 1]) for block in blocks]
        if len(slices) == 1:
            return self.item_idx[slices[0]], self.levels[slices[0]]
        items = np.concatenate([self.item_idx[rows] for rows in slices])
        levels = np.concatenate([self.levels[rows] for rows in slices])
        # the first of the reversed rows is of the last block, which counts
        unique_items, row_idx = np.unique(items[::-1], return_index=True)
        return unique_items, levels[::-1][row_idx]

    def _blocks(self, place: int, moment_s: int) -> Iterator[int]:
        """Blocks of a place that are valid at a moment, by increasing start."""
        first, end = np.searchsorted(self.block_place, [place, place + 1])
        end = first + np.searchsorted(self.block_from_s[first:end], moment_s, side="right")
        yield from (first + np.flatnonzero(self.block_until_s[first:end] > moment_s)).tolist()

    def save(self, folder: Path) -> None:
        """Write ``ITEM_CONTEXT_FILES``."""
        content = [column.model_dump(mode="json") for column in self.columns]
        (folder / _COLUMNS).write_text(json.dumps(content), encoding="utf-8")
        for name in _ARRAYS:
            np.save(folder / f"item_context.{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files of ``save``; rows stay on disk until a request reads them.

        Raises:
            ValueError: A file is of another format.
        """
        stored = json.loads((folder / _COLUMNS).read_text(encoding="utf-8"))
        columns = tuple(ItemContextColumn.model_validate(column) for column in stored)
        arrays = {
            name: np.load(
                folder / f"item_context.{name}.npy",
                mmap_mode="r" if name in ("item_idx", "levels") else None,
                allow_pickle=False,
            )
            for name in _ARRAYS
        }
        return cls(columns, **arrays)


@dataclass(frozen=True, slots=True)
class LevelMapping:
    """Levels of the columns of one snapshot as levels of a model that was trained on another.

    Attributes:
        column_idx: Column of the snapshot for each of the model's; -1 if it has none.
        level_idx: The model's level of each of the snapshot's, 0 if it has none, int32.
    """

    column_idx: tuple[int, ...]
    level_idx: ItemIndex

    @classmethod
    def of(
        cls, columns: Sequence[ItemContextColumn], model_columns: Sequence[ItemContextColumn]
    ) -> Self:
        """Map by names of columns and texts; a range of numbers is mapped by its middle.

        Args:
            columns: Columns of the snapshot.
            model_columns: Columns of the model.
        """
        names = [column.name for column in columns]
        level_idx = np.zeros(n_levels(columns), np.int32)
        for model_column in model_columns:
            if model_column.name in names:
                column = columns[names.index(model_column.name)]
                for number, value in enumerate(column.examples):
                    level_idx[column.first + number] = model_column.level(value)
        found = (names.index(c.name) if c.name in names else -1 for c in model_columns)
        return cls(tuple(found), level_idx)

    def apply(self, levels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | None:
        """Levels in the model's columns; None for a model without item context.

        Args:
            levels: Levels of the snapshot, shape (B, P, n_columns).
        """
        if not self.column_idx:
            return None
        defaults = np.zeros(levels.shape[:2], np.int32)
        mapped = [
            defaults if column_idx < 0 else self.level_idx[levels[..., column_idx]]
            for column_idx in self.column_idx
        ]
        return np.stack(mapped, axis=2)


def n_levels(columns: Sequence[ItemContextColumn]) -> int:
    """Number of indices of levels, the default included."""
    return 1 + sum(len(column.levels) for column in columns)
