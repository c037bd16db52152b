"""Data files of a version of a Delta table; files and rows that were deleted are left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.part_files import PartFile
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.usable_paths import require_usable_path

_FILE_URI: Final = "file://"
_COLUMN_MAPPING: Final = "delta.columnMapping.mode"


@dataclass(frozen=True, slots=True)
class DeltaFiles:
    """Data files of one version of a Delta table.

    Attributes:
        files: The files, sorted, with partition values and deletion vectors.
        columns: Names of the table's columns; an older file may lack some.
    """

    files: list[PartFile]
    columns: frozenset[str]


def list_delta_files(table_dir: Path, version: int | None) -> DeltaFiles:
    """Data files of a Delta table.

    Args:
        table_dir: Folder of the table.
        version: Version of the table; None is the current one.

    Raises:
        SourceError: The folder is no readable Delta table, the version does not exist, or the
            table uses column mapping.
        ConfigError: A file lies outside the folders that flows may use.
    """
    require_usable_path(table_dir)
    try:
        delta_table = DeltaTable(str(table_dir.absolute()), version=version)
        table_settings = delta_table.metadata().configuration
        if table_settings.get(_COLUMN_MAPPING, "none") != "none":
            raise SourceError(
                "The Delta table renames its columns (column mapping), which is not supported",
                received=table_dir,
                way_out="Export the current rows to Parquet, or query the table with format sql",
            )
        row_masks = _row_masks(delta_table)
        add_actions = pa.table(delta_table.get_add_actions(flatten=False)).to_pylist()
        column_names = frozenset(delta_field.name for delta_field in delta_table.schema().fields)
    except DeltaError as error:
        raise SourceError(
            f"Cannot read {table_dir} as a Delta table",
            received=error,
            way_out="Check the folder and its _delta_log, and version in the dataset's YAML",
        ) from error
    part_files = [_part_file(table_dir, add_action, row_masks) for add_action in add_actions]
    if not part_files:
        raise SourceError(
            "The Delta table has no rows", received=table_dir, way_out="Correct path or version"
        )
    return DeltaFiles(sorted(part_files, key=lambda part_file: part_file.path), column_names)


def _part_file(
    table_dir: Path,
    add_action: Mapping[str, Any],
    row_masks: Mapping[Path, npt.NDArray[np.bool_]],
) -> PartFile:
    file_path = _local_path(table_dir, add_action["path"])
    partition_values = {
        column_name: None if value is None else str(value)
        for column_name, value in (add_action.get("partition") or {}).items()
    }
    return PartFile(require_allowed_path(file_path), partition_values, row_masks.get(file_path))


def _row_masks(delta_table: DeltaTable) -> dict[Path, npt.NDArray[np.bool_]]:
    """Masks of the rows that deletion vectors leave, by file."""
    table_dir = _local_path(Path(), delta_table.table_uri)
    return {
        _local_path(table_dir, file_uri.as_py()): is_kept.values.to_numpy(zero_copy_only=False)
        for batch in map(pa.record_batch, delta_table.deletion_vectors())
        for file_uri, is_kept in zip(*batch.columns, strict=True)
    }


def _local_path(table_dir: Path, address: str) -> Path:
    """Path of a data file from its URI, or from a percent-encoded path relative to the table."""
    if address.startswith(_FILE_URI):
        return Path(unquote(address.removeprefix(_FILE_URI)))
    return table_dir.absolute() / unquote(address)
