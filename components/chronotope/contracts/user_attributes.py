"""Attributes of users, such as age group and region, as levels of columns.

A level has an index over all columns, so that one table holds a row for each; index 0 is unknown.
A column of numbers is cut at the quantiles of its values. Rare values have no level: they are
unknown, as is a value that appears later.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.ids import IdMap

PREFIX: Final = "user."
"""Prefix of attributes among the context columns of a query, which hold indices of levels."""

MIN_USERS: Final = 5
"""Users that a level needs; fewer do not determine what they choose."""

MAX_LEVELS: Final = 64
"""Levels of a column at most, the most frequent ones."""

N_RANGES: Final = 6
"""Ranges of a column of numbers."""

_COLUMNS: Final = "columns"
"""Metadata of the stored table that hold the columns."""

AttributeValue = str | float
Codes = npt.NDArray[np.int32]


class AttributeColumn(BaseModel):
    """One attribute and its levels.

    Attributes of a request are matched by ``level``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the column of the users table.")
    first: int = Field(ge=1, description="Index of its first level.")
    levels: tuple[str, ...] = Field(description="Levels by index, from the first.")
    edges: tuple[float, ...] = Field(
        (), description="Bounds between the levels of a column of numbers; empty for texts."
    )

    @property
    def examples(self) -> tuple[AttributeValue, ...]:
        """A value of each level: its text, or a number within its range."""
        if not self.edges:
            return self.levels
        between = [(low + high) / 2 for low, high in pairwise(self.edges)]
        return (self.edges[0] - 1.0, *between, self.edges[-1])

    def level(self, value: AttributeValue | None) -> int:
        """Index of the level of a value; 0 if it is unknown.

        Args:
            value: A text, or a number in a column of numbers.

        Raises:
            ConfigError: The column holds numbers and the value is none.
        """
        if value is None:
            return 0
        if not self.edges:
            text = value if isinstance(value, str) else f"{value:g}"
            return self.first + self.levels.index(text) if text in self.levels else 0
        try:
            number = float(value)
        except ValueError as error:
            raise ConfigError(
                f"The user attribute {self.name!r} is a number",
                received=value,
                way_out="Send a number, or leave the attribute out",
            ) from error
        return self.first + bisect_right(self.edges, number) if np.isfinite(number) else 0


@dataclass(frozen=True, slots=True)
class UserAttributes:
    """Attributes of the users of a catalogue.

    Attributes:
        columns: The attributes; their levels have consecutive indices from 1.
        codes: Index of the level of each user and column, shape (n_users, n_columns), row 0 and
            missing values 0.
    """

    columns: tuple[AttributeColumn, ...]
    codes: Codes

    @classmethod
    def from_table(cls, user_rows: pa.Table, user_ids: IdMap) -> Self:
        """Levels of the users of a catalogue; they are those of these users alone.

        Args:
            user_rows: ``user_id`` and the attributes, as text or numbers.
            user_ids: Users of the catalogue.
        """
        row_of_user = pc.index_in(user_ids.ids, user_rows[c.USER_ID].combine_chunks())
        user_rows = user_rows.take(row_of_user)  # rows in the order of the ids, null where missing
        columns: list[AttributeColumn] = []
        for name in user_rows.column_names:
            column = None if name == c.USER_ID else _column(name, user_rows[name], columns)
            if column is not None:
                columns.append(column)
        return cls(tuple(columns), encode_users(user_rows, tuple(columns)))

    def save(self, file_path: Path) -> None:
        """Write the columns and the codes of the known users as Parquet."""
        levels = {
            column.name: pa.array(self.codes[1:, column_idx])
            for column_idx, column in enumerate(self.columns)
        }
        columns = json.dumps([column.model_dump(mode="json") for column in self.columns])
        table = pa.table(levels).replace_schema_metadata({_COLUMNS: columns})
        pq.write_table(table, file_path)

    @classmethod
    def load(cls, file_path: Path) -> Self:
        """Read a file of ``save``.

        Raises:
            ValueError: The file is of another format.
        """
        table = pq.read_table(file_path)
        stored = (table.schema.metadata or {}).get(_COLUMNS.encode(), b"[]")
        columns = tuple(AttributeColumn.model_validate(column) for column in json.loads(stored))
        codes = np.zeros((1 + len(table), len(columns)), np.int32)
        for column_idx, column in enumerate(columns):
            codes[1:, column_idx] = table[column.name].to_numpy()
        return cls(columns, codes)

    @property
    def n_levels(self) -> int:
        """Number of indices, the unknown level included."""
        return 1 + sum(len(column.levels) for column in self.columns)

    @property
    def context_columns(self) -> tuple[str, ...]:
        """Context columns of a query that hold the levels."""
        return context_columns(self.columns)

    def of_users(self, user_idx: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.float32]]:
        """Context columns of queries by these users, see ``attribute_context``.

        Args:
            user_idx: Indices of users, shape (B,).
        """
        return {
            PREFIX + column.name: self.codes[user_idx, column_idx].astype(np.float32)
            for column_idx, column in enumerate(self.columns)
        }


def context_columns(columns: Sequence[AttributeColumn]) -> tuple[str, ...]:
    """Context columns of a query that hold the levels of attributes."""
    return tuple(PREFIX + column.name for column in columns)


def encode_users(user_rows: pa.Table, columns: Sequence[AttributeColumn]) -> Codes:
    """Indices of the levels of users, shape (1 + n_rows, n_columns), row 0 unknown.

    Args:
        user_rows: Rows of the users table; a column that is missing is unknown.
        columns: The attributes.
    """
    codes = np.zeros((1 + len(user_rows), len(columns)), np.int32)
    for column_idx, column in enumerate(columns):
        if column.name not in user_rows.column_names:
            continue
        encoded = user_rows[column.name].combine_chunks().dictionary_encode()
        level_of = [_readable_level(column, value) for value in encoded.dictionary.to_pylist()]
        value_idx = encoded.indices.fill_null(len(level_of)).to_numpy(zero_copy_only=False)
        codes[1:, column_idx] = np.array([*level_of, 0], np.int32)[value_idx]
    return codes


def attribute_context(
    attributes: Mapping[str, AttributeValue], columns: Sequence[AttributeColumn]
) -> dict[str, float]:
    """Context columns of a query for the attributes of a request.

    A value that is merely new is unknown, as a request may come before the next training; a column
    that the model does not read is an error.

    Args:
        attributes: Values by column.
        columns: Attributes that the model reads.

    Raises:
        ConfigError: Columns that the model does not read, or a value that is no number.
    """
    by_name = {column.name: column for column in columns}
    if unknown_columns := sorted(set(attributes) - set(by_name)):
        raise ConfigError(
            "The champion reads no user attributes of these names",
            received=unknown_columns,
            way_out=f"Its user attributes are: {', '.join(by_name) or 'none'}",
        )
    return {PREFIX + name: float(by_name[name].level(value)) for name, value in attributes.items()}


def _column(
    name: str, values: pa.ChunkedArray, earlier: Sequence[AttributeColumn]
) -> AttributeColumn | None:
    """A column and its levels; None where fewer than two levels have enough users."""
    first = 1 + sum(len(column.levels) for column in earlier)
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        numbers = np.asarray(values.cast(pa.float64()).drop_null().to_numpy(), np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers) < 2 * MIN_USERS:
            return None
        shares = np.arange(1, N_RANGES) / N_RANGES
        edges = np.unique(np.quantile(numbers, shares, method="higher"))
        edges = edges[edges > numbers.min()]
        if not len(edges):
            return None
        texts = [f"{edge:g}" for edge in edges]
        ranges = [f"{low} to below {high}" for low, high in pairwise(texts)]
        levels = (f"below {texts[0]}", *ranges, f"{texts[-1]} or more")
        return AttributeColumn(name=name, first=first, levels=levels, edges=tuple(edges.tolist()))
    counts = pc.value_counts(values.cast(pa.string()).drop_null().combine_chunks())
    frequent = [
        (-row["counts"], row["values"]) for row in counts.to_pylist() if row["counts"] >= MIN_USERS
    ]
    levels = tuple(sorted(value for _, value in sorted(frequent)[:MAX_LEVELS]))
    return AttributeColumn(name=name, first=first, levels=levels) if len(levels) > 1 else None


def _readable_level(column: AttributeColumn, value: AttributeValue | None) -> int:
    """Level of a stored value; 0 also for one that cannot be read."""
    try:
        return column.level(value)
    except ConfigError:
        return 0
