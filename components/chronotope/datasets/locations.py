"""Locations of a dataset's files: in its folder, in a Python package, or at an http URL."""

import importlib.util
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import SourceError
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import Format, TableSpec
from chronotope.runtime.allowed_paths import require_allowed_path

_HTTP_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_GLOB_CHARACTERS: Final = re.compile(r"[*?\[]")


def is_http_url(path: str) -> bool:
    """Whether a path is an http or https URL."""
    return _HTTP_URL.match(path) is not None


def local_path(table_spec: TableSpec, data_dir: Path) -> Path:
    """Path of a table's file or folder; it may not exist.

    Args:
        table_spec: Path and optional package.
        data_dir: Folder that the path is relative to, if there is no package.

    Raises:
        SourceError: The package is not installed, the path leads out of its folder, or a
            variable expands to an http URL.
        ConfigError: The path lies outside the folders that flows may use.
    """
    expanded_path = os.path.expandvars(table_spec.path or "")
    if is_http_url(expanded_path):  # environment values must not be sent to a host
        raise SourceError(
            "An http URL in an environment variable is not allowed",
            received=table_spec.path,
            way_out="Write the http URL into the dataset's YAML, without variables",
        )
    if table_spec.package is None:
        return require_allowed_path(data_dir / expanded_path)
    package_dir = _package_dir(table_spec.package)
    file_path = Path(os.path.normpath(package_dir / expanded_path))
    if not file_path.is_relative_to(package_dir):
        raise SourceError(
            "The path leads out of its package",
            received=table_spec.path,
            way_out="Set path to a file below the folder of the package",
        )
    return file_path


def glob_base(source_path: Path) -> tuple[Path, str | None]:
    """Split a path at its first part that is a glob pattern.

    A part that exists under that very name is no pattern, such as a folder ``logs[2024]``.

    Returns:
        The folder to search and the pattern below it; the path itself and None without a pattern.
    """
    base_dir = Path(source_path.anchor)
    path_parts = source_path.relative_to(source_path.anchor).parts
    for part_idx, path_part in enumerate(path_parts):
        is_pattern = _GLOB_CHARACTERS.search(path_part) is not None
        if is_pattern and not os.path.lexists(base_dir / path_part):
            return base_dir, "/".join(path_parts[part_idx:])
        base_dir /= path_part
    return source_path, None


def source_folders(dataset_spec: DatasetSpec) -> set[Path]:
    """Folders of a dataset's local source files and SQLite files.

    Files in packages, http URLs and database servers are not included.
    """
    table_specs = [
        dataset_spec.events,
        dataset_spec.items,
        dataset_spec.users,
        dataset_spec.context_table,
        dataset_spec.item_context,
        dataset_spec.feedback,
    ]
    local_paths = [
        _local_source(table_spec, dataset_spec)
        for table_spec in table_specs
        if table_spec is not None
    ]
    return {
        _folder_of(local_source).resolve()
        for local_source in local_paths
        if local_source is not None
    }


def _folder_of(local_source: Path) -> Path:
    base_dir, pattern = glob_base(local_source)
    return base_dir if pattern is not None or base_dir.is_dir() else base_dir.parent


def _local_source(table_spec: TableSpec, dataset_spec: DatasetSpec) -> Path | None:
    if table_spec.format is Format.SQL:
        from chronotope.datasets.databases import expand_url, sqlite_file  # slow to import

        with suppress(SourceError):  # its variable may be set in another process only
            return sqlite_file(expand_url(table_spec.url)) if table_spec.url else None
        return None
    if table_spec.package is not None or is_http_url(table_spec.path or ""):
        return None
    return local_path(table_spec, dataset_spec.data_dir)


def _package_dir(package_name: str) -> Path:
    """Folder of an installed top-level package; the package is not imported."""
    try:
        module_spec = importlib.util.find_spec(package_name)
    except ValueError:  # a module without a spec, such as __main__
        module_spec = None
    if module_spec is None or not module_spec.submodule_search_locations:
        raise SourceError(
            "The package that contains the data is not installed",
            received=package_name,
            way_out=f"Run: pip install {package_name}",
        )
    return Path(os.path.normpath(next(iter(module_spec.submodule_search_locations))))
