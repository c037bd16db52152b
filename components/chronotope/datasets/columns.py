"""Check of a source's columns against the mapping in the dataset's YAML."""

import difflib
from collections.abc import Sequence

from chronotope.contracts.errors import SchemaError
from chronotope.contracts.escaping import shown_text
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
            f"Columns missing in {source_label}: {', '.join(map(shown_text, missing_columns))}",
            received=", ".join(map(shown_text, source_columns[:_SHOWN_COLUMNS])),
            way_out=way_out or _way_out(missing_columns, source_columns),
        )
        error.column_names = frozenset(missing_columns)
        raise error


def _way_out(missing_columns: Sequence[str], source_columns: Sequence[str]) -> str:
    """What to correct: the columns of the source that are spelled alike, if there are any."""
    plain_names = {_plain_name(name): name for name in reversed(source_columns)}
    suggestions = []
    for column_name in missing_columns:
        alike = difflib.get_close_matches(_plain_name(column_name), plain_names, 1)
        if alike:
            shown_name = shown_text(plain_names[alike[0]])
            suggestions.append(f"for {shown_text(column_name)} write {shown_name}")
    advice = "Correct the column mapping in the dataset's YAML"
    return f"{advice}: {'; '.join(suggestions)}" if suggestions else advice


def _plain_name(column_name: str) -> str:
    """A name without its case, its outer white space and its invisible characters."""
    return "".join(filter(str.isprintable, column_name)).strip().casefold()
