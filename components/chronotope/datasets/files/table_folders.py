"""Detection of folders that are tables of a table format, whose files must not be read loosely.

Such a folder also holds files of rows that were deleted or replaced.
"""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from chronotope.contracts.errors import SourceError


class TableFormat(StrEnum):
    """Table format of a folder."""

    DELTA = "Delta"
    ICEBERG = "Iceberg"
    HUDI = "Hudi"


def table_format_of(folder: Path) -> TableFormat | None:
    """Table format whose metadata a folder holds, if any."""
    if (folder / "_delta_log").is_dir():
        return TableFormat.DELTA
    if (folder / ".hoodie").is_dir():
        return TableFormat.HUDI
    metadata_dir = folder / "metadata"
    if metadata_dir.is_dir() and (
        (metadata_dir / "version-hint.text").exists()
        or any(metadata_dir.glob("*.metadata.json"))
        or any(metadata_dir.glob("*.metadata.json.gz"))
    ):
        return TableFormat.ICEBERG
    return None


def require_loose_files(file_paths: Iterable[Path]) -> None:
    """Refuse files of which one lies in a table of a table format.

    Raises:
        SourceError: A file belongs to a Delta, Iceberg or Hudi table.
    """
    folders = {parent for file_path in file_paths for parent in file_path.absolute().parents}
    for folder in sorted(folders):
        table_format = table_format_of(folder)
        if table_format is not None:
            raise table_folder_error(folder, table_format)


def table_folder_error(table_dir: Path, table_format: TableFormat) -> SourceError:
    """Error for a table whose files were about to be read without its metadata."""
    return SourceError(
        f"The files belong to a table of {table_format}, which also keeps files of deleted rows",
        received=table_dir,
        way_out=_way_out(table_format, table_dir),
    )


def _way_out(table_format: TableFormat, table_dir: Path) -> str:
    if table_format is TableFormat.DELTA:
        return f"Set path to {table_dir} and format: delta, which reads its current version"
    return (
        f"{table_format} tables are not supported: export the current rows to Parquet or CSV with "
        "the program that writes the table, or query it with format sql"
    )
