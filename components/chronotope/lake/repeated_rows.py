"""Rows of a delivery that repeat the identity of an earlier row, and how many of them differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.ids import digest_numbers, event_ids
from chronotope.lake.store_errors import translate_store_errors

_SHOWN_COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


@dataclass(frozen=True, slots=True)
class RepeatedRows:
    """Rows of a delivery whose event id occurs in an earlier row; only the first row is stored.

    Attributes:
        n_rows: Number of rows that repeat an earlier id.
        n_equal: Number of these that equal an earlier row in every column.
        example: Two rows of one id that differ, as text; None if all are equal.
    """

    n_rows: int = 0
    n_equal: int = 0
    example: str | None = None

    @property
    def n_differing(self) -> int:
        """Number of rows that differ from every earlier row of their id."""
        return self.n_rows - self.n_equal


class ChunkedRows(Protocol):
    """Rows of a delivery that are read in parts."""

    schema: pa.Schema

    def chunk_sizes(self) -> list[int]:
        """Number of rows of each part."""

    def read_chunk(self, chunk_idx: int) -> pa.Table:
        """Rows of a part."""

    def id_hashes(self) -> npt.NDArray[np.uint64]:
        """64-bit hash of the id of each row, shape (n_rows,)."""

    def repeated_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the rows whose id hash occurs more than once, increasing."""


def find_repeated_rows(delivery: ChunkedRows) -> RepeatedRows:
    """Compare the rows of each repeated id in a staged delivery.

    Memory use is 16 bytes per row with a repeated id, and one batch.

    Args:
        delivery: Staged rows, before they are moved into the table.

    Raises:
        StoreError: The staged files cannot be read.
    """
    return compare_repeated_rows(delivery)[0]


def compare_repeated_rows(delivery: ChunkedRows) -> tuple[RepeatedRows, int | None]:
    """``find_repeated_rows``, and the position of the row of the example; None without one.

    Args:
        delivery: Staged rows.

    Raises:
        StoreError: The staged files cannot be read.
    """
    positions = delivery.repeated_positions()
    if not len(positions):
        return RepeatedRows(), None
    with translate_store_errors("events"):
        content_hashes = np.concatenate(
            [
                _content_hashes(
                    delivery.read_chunk(chunk_idx).take(pa.array(chunk_rows)), delivery.schema
                )
                for chunk_idx, chunk_rows in rows_by_chunk(delivery, positions)
            ]
        )
        _, first_rows, id_numbers = np.unique(
            delivery.id_hashes()[positions], return_index=True, return_inverse=True
        )
        distinct_contents = np.unique(
            np.stack([id_numbers.astype(np.uint64), content_hashes]), axis=1
        )
        differing_rows = np.flatnonzero(content_hashes != content_hashes[first_rows][id_numbers])
        example_text = example_position = None
        if len(differing_rows):
            row_pair = [first_rows[id_numbers[differing_rows[0]]], differing_rows[0]]
            example_position = int(positions[differing_rows[0]])
            example_text = _difference(delivery, positions[row_pair])
    repeated_rows = RepeatedRows(
        n_rows=len(positions) - len(first_rows),
        n_equal=len(positions) - distinct_contents.shape[1],
        example=example_text,
    )
    return repeated_rows, example_position


def rows_by_chunk(
    delivery: ChunkedRows, positions: npt.NDArray[np.int64]
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Parts with rows at some increasing positions, and the positions in the part.

    Args:
        delivery: Rows that are read in parts.
        positions: Positions of rows, increasing.
    """
    start_row = 0
    for chunk_idx, n_rows in enumerate(delivery.chunk_sizes()):
        low, high = np.searchsorted(positions, [start_row, start_row + n_rows])
        if high > low:
            yield chunk_idx, positions[low:high] - start_row
        start_row += n_rows


def _content_hashes(rows: pa.Table, schema: pa.Schema) -> npt.NDArray[np.uint64]:
    """64-bit hash of all columns but the event id, shape (n_rows,)."""
    column_names = [name for name in schema.names if name != c.EVENT_ID]
    columns = [
        rows.column(name) if name in rows.column_names else pa.nulls(len(rows), pa.string())
        for name in column_names
    ]
    return digest_numbers(event_ids(columns))


def _difference(delivery: ChunkedRows, positions: npt.NDArray[np.int64]) -> str:
    """The columns in which two rows differ, with both values."""
    first_row, second_row = (
        row
        for chunk_idx, chunk_rows in rows_by_chunk(delivery, positions)
        for row in delivery.read_chunk(chunk_idx).take(pa.array(chunk_rows)).to_pylist()
    )
    event_text = ", ".join(f"{name} {first_row[name]}" for name in _SHOWN_COLUMNS)
    differences = [
        f"{name} {_value_text(first_row.get(name))} and {_value_text(second_row.get(name))}"
        for name in delivery.schema.names
        if first_row.get(name) != second_row.get(name)
    ]
    return f"{event_text}: {', '.join(differences)}"


def _value_text(value: object) -> str:
    return "missing" if value is None else str(value)
