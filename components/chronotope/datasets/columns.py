"""Whether a source has the columns that a dataset's YAML maps."""

from collections.abc import Sequence

from chronotope.contracts.errors import SchemaError
from chronotope.datasets.spec import TableSpec

_SHOWN_COLUMNS = 50


def check_columns(table: TableSpec, names: Sequence[str], where: object) -> None:
    """Refuse a source that lacks a needed column.

    Raises:
        SchemaError: Names the missing columns and those of the source.
    """
    missing = [name for name in table.needed if name not in set(names)]
    if missing:
        raise SchemaError(
            f"Columns missing in {where}: {', '.join(missing)}",
            received=", ".join(names[:_SHOWN_COLUMNS]),
            way_out="Correct the column mapping in the dataset's YAML",
        )
