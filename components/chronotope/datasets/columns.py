"""Check of a source's columns against the mapping in the dataset's YAML."""

from collections.abc import Sequence

from chronotope.contracts.errors import SchemaError
from chronotope.datasets.table_spec import TableSpec

_SHOWN_COLUMNS = 50


class MissingColumnsError(SchemaError):
    """A source lacks needed columns.

    Attributes:
        column_names: Names of the missing columns.
    """

    column_names: frozenset[str] = frozenset()


def check_columns(
    table: TableSpec, source_columns: Sequence[str], source_label: object, *, way_out: str = ""
) -> None:
    """Check that a source has every needed column.

    Args:
        table: Columns that are needed.
        source_columns: Names of the columns of the source.
        source_label: Name of the source for the message.
        way_out: What the user can do about it, if more is known than that columns are missing.

    Raises:
        MissingColumnsError: The message lists the missing columns and those of the source.
    """
    missing_columns = [name for name in table.needed if name not in set(source_columns)]
    if missing_columns:
        error = MissingColumnsError(
            f"Columns missing in {source_label}: {', '.join(missing_columns)}",
            received=", ".join(source_columns[:_SHOWN_COLUMNS]),
            way_out=way_out or "Correct the column mapping in the dataset's YAML",
        )
        error.column_names = frozenset(missing_columns)
        raise error
