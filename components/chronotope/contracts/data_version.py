"""Which data something was made of: versions of a lake's tables, each with an identity.

The number alone does not tell: another lake in the same folder counts from 0 again, and a table
that was set back to an earlier version gives the later numbers to other rows.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, PlainSerializer

from chronotope.contracts.errors import DataError

EVENTS: Final = "events"
"""Table that every data version begins with."""

_TABLE_VERSION: Final = re.compile(r"(?P<number>0|[1-9]\d*)\.(?P<identity>[0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One version of one table.

    Attributes:
        number: Delta's number; a later version of the same table has a larger one.
        identity: Eight hexadecimal digits of the table's id and of the names of its data files.
            It stays when a lake is copied or moved.

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
        """Read what ``str`` wrote.

        Raises:
            DataError: The text is no version of a table.
        """
        version_match = _TABLE_VERSION.fullmatch(version_text)
        if version_match is None:
            raise DataError(
                "This is no version of a table",
                received=version_text,
                way_out="A version is a number and eight hexadecimal digits, such as 6.1f3a9c20",
            )
        return cls(int(version_match["number"]), version_match["identity"])

    def __str__(self) -> str:
        """Number and identity, such as ``6.1f3a9c20``."""
        return f"{self.number}.{self.identity}"


def _parsed(raw_value: object) -> object:
    try:
        return TableVersion.parse(raw_value) if isinstance(raw_value, str) else raw_value
    except DataError as error:
        raise ValueError(str(error)) from error  # what pydantic tells together with the field


TableVersionText = Annotated[TableVersion, BeforeValidator(_parsed), PlainSerializer(str)]
"""A version as a field of a model: JSON shows its text."""


@dataclass(frozen=True, slots=True)
class DataVersion:
    """Versions of all tables that something was made of, the events first.

    Attributes:
        tables: Name and version of each table.

    Example:
        >>> version = DataVersion.parse("events@6.1f3a9c20,items@1.0b7d4e11")
        >>> version.events.number, str(version)
        (6, 'events@6.1f3a9c20,items@1.0b7d4e11')
    """

    tables: tuple[tuple[str, TableVersion], ...]

    @classmethod
    def parse(cls, version_text: str) -> Self:
        """Read what ``str`` wrote.

        Raises:
            DataError: The text names no versions, or not those of the events first.
        """
        version_pairs = [table_text.partition("@") for table_text in version_text.split(",")]
        tables = tuple((name, TableVersion.parse(version)) for name, _, version in version_pairs)
        if tables[0][0] != EVENTS:
            raise DataError(
                "A data version begins with the events",
                received=version_text,
                way_out="Write it like events@6.1f3a9c20,items@1.0b7d4e11",
            )
        return cls(tables)

    @property
    def events(self) -> TableVersion:
        """Version of the events."""
        return self.tables[0][1]

    def __str__(self) -> str:
        """Each table with its version, such as ``events@6.1f3a9c20,items@1.0b7d4e11``."""
        return ",".join(f"{name}@{version}" for name, version in self.tables)
