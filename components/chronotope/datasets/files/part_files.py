"""Selection of the files of a source: a file, the data files of a folder, or those of a glob."""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.table_folders import require_loose_files
from chronotope.datasets.locations import glob_base, local_path
from chronotope.datasets.table_spec import Format, TableSpec
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.regular_files import open_regular, require_regular

HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
"""Value in the name of a partition folder that stands for null."""

_LOG = logging.getLogger(__name__)
_SHOWN_FILES: Final = 10
_COMPRESSIONS: Final = re.compile(r"(\.(gz|gzip|bz2|xz|zst|zstd|lz4|br|zip|snappy))+$")
_SUFFIXES: Final = {
    "csv": re.compile(r"\.(csv|tsv|txt|dat|data|tab|psv|ssv|log|asc|inter)$"),
    "json": re.compile(r"\.(json|jsonl|ndjson)$"),
    "parquet": re.compile(r"\.(parquet|parq|pq)$"),
    "excel": re.compile(r"\.(xlsx|xlsm|xlsb|xls|ods)$"),
}
"""Suffixes of the data files of a folder, by format, without those of a compression."""

_UNNAMED: Final = frozenset(["csv", "json"])
"""Formats whose files may have no suffix, such as part-00000."""

_PARQUET_MAGIC: Final = b"PAR1"


@dataclass(frozen=True, slots=True)
class PartFile:
    """One data file of a source.

    Attributes:
        path: Path of the file.
        partition_values: Values of its Hive partitions, such as ``dt=2024-03-04`` in the name of
            a folder, as text by column name.
        row_mask: Mask of the rows that are not deleted, shape (n_rows,); None keeps every row.
    """

    path: Path
    partition_values: Mapping[str, str | None] = field(default_factory=dict)
    row_mask: npt.NDArray[np.bool_] | None = None


def list_part_files(table_spec: TableSpec, data_dir: Path) -> list[PartFile]:
    """Existing data files of a table's path, sorted.

    A folder is walked without names that start with ``.`` or ``_``; files in it that are not
    in the format, such as a README, are skipped and logged, as are empty ones. A file that a glob
    or the path itself names is never skipped for its name.

    Raises:
        SourceError: There is no such file, or it is empty or neither a regular file nor a folder;
            or the files belong to a Delta, Iceberg or Hudi table.
        ConfigError: A path lies outside the folders that flows may use.
    """
    source_path = local_path(table_spec, data_dir)
    base_dir, pattern = glob_base(source_path)
    try:
        if pattern is not None:
            file_paths = _matching_files(base_dir, pattern, table_spec.format)
        elif source_path.is_dir():
            file_paths = _folder_files(source_path, table_spec.format)
        else:
            file_paths = [source_path]
        require_loose_files(file_paths)
        file_paths = _without_empty(file_paths, source_path)
    except FileNotFoundError:
        raise SourceError(
            "No such file",
            received=source_path,
            way_out="Correct data_dir or path in the dataset's YAML",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        raise SourceError(
            "The file cannot be read",
            received=f"{getattr(error, 'filename', None) or source_path}: "
            f"{getattr(error, 'strerror', None) or error}",
            way_out="Set path to a regular file that this process may read",
        ) from error
    return [PartFile(file_path, _partition_values(file_path)) for file_path in file_paths]


def _matching_files(base_dir: Path, pattern: str, source_format: Format) -> list[Path]:
    file_paths = set[Path]()
    pattern += "/*" if pattern.endswith("**") else ""  # ** alone matches only folders
    for matching_path in base_dir.glob(pattern):
        if _is_hidden(matching_path.relative_to(base_dir), pattern):
            continue
        if matching_path.is_dir():
            if not pattern.endswith("**/*"):  # the files in it match by themselves
                file_paths.update(_folder_files(matching_path, source_format, may_be_empty=True))
        else:
            file_paths.add(require_allowed_path(matching_path))
    if not file_paths:
        raise SourceError(
            "No file matches the path",
            received=base_dir / pattern,
            way_out="Correct data_dir or path in the dataset's YAML: * stands for any part of a "
            "name, ** for folders at any depth",
        )
    return sorted(file_paths)


def _is_hidden(relative_path: Path, pattern: str) -> bool:
    """Whether a part of a path is hidden, unless the pattern itself begins so."""
    return any(
        _is_skipped_name(name) and not any(part.startswith(name[0]) for part in pattern.split("/"))
        for name in relative_path.parts
    )


def _is_skipped_name(name: str) -> bool:
    # A partition folder may be named for a column such as _date.
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _folder_files(folder: Path, source_format: Format, *, may_be_empty: bool = False) -> list[Path]:
    """Data files below a folder, sorted; other files are logged."""
    file_paths = sorted(_files_below(folder))
    data_files = [path for path in file_paths if _is_data_file(path, source_format)]
    other_names = [
        str(path.relative_to(folder)) for path in sorted(set(file_paths) - set(data_files))
    ]
    shown_names = ", ".join(other_names[:_SHOWN_FILES]) + (
        f" and {len(other_names) - _SHOWN_FILES:,} more" if len(other_names) > _SHOWN_FILES else ""
    )
    if not data_files and not may_be_empty:
        raise SourceError(
            f"The folder holds no {source_format} files",
            received=f"{folder}: {shown_names or 'no files'}",
            way_out="Correct path or format; a glob such as *.export reads files with other "
            "suffixes",
        )
    if other_names:
        _LOG.warning(
            "Skipped %d files in %s that are not %s: %s",
            len(other_names),
            folder,
            source_format,
            shown_names,
        )
    return [require_allowed_path(path) for path in data_files]


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if _is_skipped_name(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path))
        else:  # a link to a folder may form a cycle; opening it as a file raises an error
            yield Path(entry.path)


def _is_data_file(file_path: Path, source_format: Format) -> bool:
    """Whether to read a file; what is no regular file is read too, which raises an error."""
    name = _COMPRESSIONS.sub("", file_path.name.lower())
    if not file_path.is_file() or _SUFFIXES[source_format].search(name):
        return not name.startswith("~$")  # lock file of an open workbook
    if source_format is Format.PARQUET:
        with open_regular(file_path) as file:
            return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    # A suffix that starts with a digit is a date or a number, as in events.2024-03-04.
    suffix = Path(name).suffix
    return source_format in _UNNAMED and (not suffix or suffix[1:2].isdigit())


def _without_empty(file_paths: Sequence[Path], source_path: Path) -> list[Path]:
    """Files that are not empty; an empty one is an error if there are no others."""
    full_files = [file_path for file_path in file_paths if require_regular(file_path)]
    if not full_files:
        raise SourceError(
            "The file is empty" if len(file_paths) == 1 else "Every file is empty",
            received=source_path,
            way_out="Export the file again",
        )
    if len(full_files) < len(file_paths):
        empty_names = [path.name for path in file_paths if path not in set(full_files)]
        _LOG.warning(
            "Skipped %d empty files: %s", len(empty_names), ", ".join(empty_names[:_SHOWN_FILES])
        )
    return full_files


def _partition_values(file_path: Path) -> dict[str, str | None]:
    """Values in the names of the folders above a file, percent-decoded."""
    pairs = [name.partition("=") for name in file_path.parts[:-1] if "=" in name]
    return {
        unquote(column): None if value == HIVE_NULL else unquote(value)
        for column, _, value in pairs
        if column
    }
