"""Encoder of the items' attributes: categories, lists of values, and numbers.

It has no weights. It is fitted on the catalogue: which values of a column are frequent enough, and
how the numbers of a column are distributed. The vector of an item is one block for each column,

    values:   v / |v|,            v_j = 1 where the item has the j-th value
    a number: n / |n|,            n_j = exp(-(q(x) - c_j)^2 / 2 s^2)

with q(x) the share of the catalogue below x and c_j evenly spaced in [0, 1], so that the product of
two blocks is a Gaussian kernel of the numbers' distance. A column that an item lacks is a block of
zeros; the whole is scaled to length 1.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from chronotope.content.encoder import Modality, Vectors, unit_vectors
from chronotope.contracts.errors import ArtifactError, NotEnoughData

NAME: Final = "attributes"
_VERSION: Final = 1
"""Version of the blocks; part of the digest."""
MAX_VALUES: Final = 256
"""Values of a column, the most frequent first."""
N_BINS: Final = 12
"""Soft bins of a column of numbers."""
_MAX_KNOTS: Final = 512
"""Different numbers of a column that its distribution is stored by."""

ItemAttributes = Mapping[str, tuple[str, ...] | float]
"""Values of one item by column: names, or a number; a missing column is left out."""


class ValueColumn(BaseModel):
    """Column of names.

    Attributes:
        name: Name of the column.
        values: The values that are encoded, in the order of the block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    values: tuple[str, ...]

    @property
    def width(self) -> int:
        """Length of the block."""
        return len(self.values)

    def block(self, items: Sequence[ItemAttributes]) -> Vectors:
        """Rows of length 1, shape (n, width); zero where an item has no known value.

        Args:
            items: Values of the items.
        """
        position_of = {
            attribute_value: position for position, attribute_value in enumerate(self.values)
        }
        indicators = np.zeros((len(items), self.width), np.float32)
        for row_idx, item in enumerate(items):
            given_value = item.get(self.name, ())
            for attribute_value in given_value if isinstance(given_value, tuple) else ():
                if attribute_value in position_of:
                    indicators[row_idx, position_of[attribute_value]] = 1.0
        return unit_vectors(indicators)


class NumberColumn(BaseModel):
    """Column of numbers.

    Attributes:
        name: Name of the column.
        knots: Different numbers, increasing.
        shares: Share of the catalogue below each of them, half of the equal ones included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    knots: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def width(self) -> int:
        """Length of the block."""
        return N_BINS

    def block(self, items: Sequence[ItemAttributes]) -> Vectors:
        """Rows of length 1, shape (n, width); zero where an item has no number.

        Args:
            items: Values of the items.
        """
        given_value = [item.get(self.name) for item in items]
        known_numbers = np.array(
            [
                attribute_value if isinstance(attribute_value, float) else np.nan
                for attribute_value in given_value
            ],
            np.float64,
        )
        share_positions = np.interp(known_numbers, self.knots, self.shares)
        centres = np.linspace(0.0, 1.0, N_BINS)
        distances = (share_positions[:, None] - centres) * (N_BINS - 1)  # in bins
        soft_bins = np.exp(-0.5 * np.square(distances))
        return unit_vectors(np.nan_to_num(soft_bins))


class AttributeColumns(BaseModel):
    """Fitted columns: the state of the encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[ValueColumn, ...] = ()
    numbers: tuple[NumberColumn, ...] = ()

    @property
    def all(self) -> list[ValueColumn | NumberColumn]:
        """The columns in the order of their blocks."""
        return [*self.values, *self.numbers]


class AttributeEncoder:
    """Fitted encoder.

    Attributes:
        columns: The fitted columns.
    """

    name: str = NAME
    modality: Modality = Modality.ATTRIBUTES

    def __init__(self, columns: AttributeColumns) -> None:
        """Keep the columns.

        Args:
            columns: Fitted columns, one at least.
        """
        self.columns = columns

    @classmethod
    def fit(cls, items: Iterable[ItemAttributes], *, min_items: int = 3) -> Self:
        """Fit on a catalogue; the order of its items does not matter.

        Args:
            items: Values of the items.
            min_items: Items that have to share a value.

        Raises:
            NotEnoughData: No column has two frequent values or two different numbers.
        """
        value_counts: dict[str, Counter[str]] = {}
        number_counts: dict[str, Counter[float]] = {}
        for item in items:
            for column_name, given_value in item.items():
                if isinstance(given_value, tuple):
                    value_counts.setdefault(column_name, Counter()).update(set(given_value))
                else:
                    number_counts.setdefault(column_name, Counter())[given_value] += 1
        value_columns = [
            _value_column(column_name, counts, min_items)
            for column_name, counts in sorted(value_counts.items())
        ]
        number_columns = [
            _number_column(column_name, counts)
            for column_name, counts in sorted(number_counts.items())
        ]
        fitted = AttributeColumns(
            values=tuple(column for column in value_columns if column.width > 1),
            numbers=tuple(column for column in number_columns if len(column.knots) > 1),
        )
        if not fitted.values and not fitted.numbers:
            raise NotEnoughData(
                "The items' attributes say nothing: no column has two values that "
                f"{min_items} items share, or two different numbers",
                received=sorted({*value_counts, *number_counts}) or "no values",
                way_out="Name other columns under content.attributes",
            )
        return cls(fitted)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return sum(column.width for column in self.columns.all)

    @cached_property
    def digest(self) -> str:
        """Digest of the columns and their values."""
        return hashlib.sha256(f"{NAME} {_VERSION}\n".encode() + self.to_bytes()).hexdigest()

    def encode(self, batch: Sequence[ItemAttributes]) -> Vectors:
        """Vectors of items, shape (n, dim); zero where none of the values is known.

        Args:
            batch: Values of the items.
        """
        return unit_vectors(np.hstack([column.block(batch) for column in self.columns.all]))

    def to_bytes(self) -> bytes:
        """State, to be stored; ``from_bytes`` reads it."""
        return self.columns.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Encoder of a stored state.

        Args:
            content: Result of ``to_bytes``.

        Raises:
            ArtifactError: The state is damaged.
        """
        try:
            return cls(AttributeColumns.model_validate_json(content))
        except ValidationError as error:
            raise ArtifactError(
                "The stored encoder of attributes is damaged",
                received=f"{error.error_count()} problems",
                way_out="Fit it again: chronotope embed DATASET --refit",
            ) from error


def item_attributes(
    row: Mapping[str, object], columns: Sequence[str], separator: str
) -> dict[str, tuple[str, ...] | float]:
    """Values of one item; empty texts and numbers that are not finite are left out.

    Args:
        row: Values by column.
        columns: Columns to read.
        separator: Text between the names of a list, such as ``|``.

    Example:
        >>> row = {"genres": "Drama|War", "year": 1994, "country": None}
        >>> item_attributes(row, ["genres", "year", "country"], "|")
        {'genres': ('Drama', 'War'), 'year': 1994.0}
    """
    attributes: dict[str, tuple[str, ...] | float] = {}
    for column_name in columns:
        attribute_value = row.get(column_name)
        if isinstance(attribute_value, str):
            names = tuple(part.strip() for part in attribute_value.split(separator) if part.strip())
            if names:
                attributes[column_name] = names
        elif isinstance(attribute_value, (int, float)) and math.isfinite(attribute_value):
            attributes[column_name] = float(attribute_value)
    return attributes


def attributes_to_json(attributes: ItemAttributes) -> str:
    """Values of one item as a text that ``attributes_from_json`` reads.

    Args:
        attributes: Values of the item.
    """
    return json.dumps(dict(attributes), sort_keys=True, ensure_ascii=False)


def attributes_from_json(text: str) -> dict[str, tuple[str, ...] | float]:
    """Values of one item from the text of ``attributes_to_json``.

    Args:
        text: That text.
    """
    return {
        column_name: tuple(attribute_value)
        if isinstance(attribute_value, list)
        else float(attribute_value)
        for column_name, attribute_value in json.loads(text).items()
    }


def _value_column(name: str, counts: Counter[str], min_items: int) -> ValueColumn:
    """The most frequent values of a column, in a fixed order."""
    frequent = [value for value, n_items in counts.items() if n_items >= min_items]
    ordered = sorted(frequent, key=lambda value: (-counts[value], value))
    return ValueColumn(name=name, values=tuple(ordered[:MAX_VALUES]))


def _number_column(name: str, counts: Counter[float]) -> NumberColumn:
    """Distribution of a column of numbers, by at most ``_MAX_KNOTS`` of them."""
    known_numbers = np.array(sorted(counts))
    n_items = np.array([counts[number] for number in known_numbers.tolist()], np.float64)
    shares = (np.cumsum(n_items) - 0.5 * n_items) / n_items.sum()
    chosen_idx = np.unique(
        np.linspace(0, len(known_numbers) - 1, min(len(known_numbers), _MAX_KNOTS)).astype(int)
    )
    return NumberColumn(
        name=name,
        knots=tuple(known_numbers[chosen_idx].tolist()),
        shares=tuple(shares[chosen_idx].tolist()),
    )
