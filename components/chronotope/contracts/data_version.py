"""Data version of a snapshot or model: versions of the lake's tables, each with an identity.

The version number alone is ambiguous: a new lake in the same folder counts from 0 again, and a
table that was restored to an earlier version reuses the later numbers for other rows.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, PlainSerializer

from chronotope.contracts.errors import DataError

EVENTS: Final = "events"
"""First table of every data version."""

_TABLE_VERSION: Final = re.compile(r"(?P<number>0|[1-9]\d*)\.(?P<identity>[0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TableVersion:
    """Version of one Delta table.

    Attributes:
        number: Delta version number; it increases with every commit to the table.
        identity: Eight hexadecimal digits, a hash of the table id and of the names of its data
            files. It does not change when a lake is copied or moved.

    Example:
        >>> str(TableVersion(6, "1f3a9c20"))
        '6.1f3a9c20'
        >>> TableVersion.parse("6.1f3a9c20").number
        6
    """

    number: int
    identity: str

    @classmethod
    def parse(cls, version_text: str) -> Self:
        """Parse the text form, such as ``6.1f3a9c20``.

        Raises:
            DataError: The text is not a table version.
        """
        version_match = _TABLE_VERSION.fullmatch(version_text)
        if version_match is None:
            raise DataError(
                "The text is not a table version",
                received=version_text,
                way_out="Write a number and eight hexadecimal digits, such as 6.1f3a9c20",
            )
        return cls(int(version_match["number"]), version_match["identity"])

    def __str__(self) -> str:
        """Number and identity, such as ``6.1f3a9c20``."""
        return f"{self.number}.{self.identity}"


def _parsed(raw_value: object) -> object:
    try:
        return TableVersion.parse(raw_value) if isinstance(raw_value, str) else raw_value
    except DataError as error:
        raise ValueError(str(error)) from error  # pydantic reports a ValueError with its field


TableVersionText = Annotated[TableVersion, BeforeValidator(_parsed), PlainSerializer(str)]
"""Pydantic field type of a table version, serialised as its text form."""


@dataclass(frozen=True, slots=True)
class DataVersion:
    """Versions of all tables that a snapshot was built from, the events first.

    Attributes:
        tables: Pairs of table name and version.

    Example:
        >>> version = DataVersion.parse("events@6.1f3a9c20,items@1.0b7d4e11")
        >>> version.events.number, str(version)
        (6, 'events@6.1f3a9c20,items@1.0b7d4e11')
    """

    tables: tuple[tuple[str, TableVersion], ...]

    @classmethod
    def parse(cls, version_text: str) -> Self:
        """Parse the text form, such as ``events@6.1f3a9c20,items@1.0b7d4e11``.

        Raises:
            DataError: A version is malformed, or the first table is not ``events``.
        """
        version_pairs = [table_text.partition("@") for table_text in version_text.split(",")]
        tables = tuple((name, TableVersion.parse(version)) for name, _, version in version_pairs)
        if tables[0][0] != EVENTS:
            raise DataError(
                "A data version has to begin with the events table",
                received=version_text,
                way_out="Write it like events@6.1f3a9c20,items@1.0b7d4e11",
            )
        return cls(tables)

    @property
    def events(self) -> TableVersion:
        """Version of the events table."""
        return self.tables[0][1]

    def __str__(self) -> str:
        """Table names and versions, such as ``events@6.1f3a9c20,items@1.0b7d4e11``."""
        return ",".join(f"{name}@{version}" for name, version in self.tables)
