"""Diagnosis and repair of local Delta tables with a damaged log or damaged data files.

A Delta log is a sequence of commits, one JSON file per version, with occasional checkpoints that
replace all commits up to them. A table is readable up to the last version from which an unbroken
sequence of readable commits leads back to a readable checkpoint or to the first commit.
"""

import errno
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from chronotope.contracts.columns import USER_BUCKET
from chronotope.lake.row_conformance import plain_schema
from chronotope.lake.store_errors import translate_store_errors

LOG: Final = "_delta_log"
REBUILDABLE: Final = frozenset({"events", "items", "users"})
"""Tables whose rows have a key, so that they can be rebuilt from their data files alone."""

_COMMIT: Final = re.compile(r"(\d{20})\.json")
_CHECKPOINT: Final = re.compile(r"(\d{20})\.checkpoint(\..+)?\.parquet")
_PART: Final = re.compile(r"\.\d{10}\.\d{10}\.parquet$")
_HINT: Final = "_last_checkpoint"
_MAX_EMPTY_COMMITS: Final = 10_000
"""Limit for a stray log file with a very large version number."""


@dataclass(frozen=True, slots=True)
class LogState:
    """Condition of a table's Delta log.

    Attributes:
        damaged: Log files that cannot be read.
        unreachable: Intact commits after a damaged or missing one.
        version: Newest readable version; None if no version is readable.
        latest: Newest version that was ever committed; None without any commit.
    """

    damaged: tuple[Path, ...]
    unreachable: tuple[Path, ...]
    version: int | None
    latest: int | None

    @property
    def is_intact(self) -> bool:
        """Whether the log needs no repair."""
        return not self.damaged and not self.unreachable and self.version is not None


def tables_of(lake_dir: Path) -> tuple[Path, ...]:
    """Folders of the Delta tables of a dataset, sorted.

    Args:
        lake_dir: Folder of the dataset's lake.
    """
    return tuple(
        sorted(log_dir.parent for log_dir in lake_dir.glob(f"*/{LOG}") if log_dir.is_dir())
    )


def examine_log(table_dir: Path) -> LogState:
    """Condition of a table's log, determined by reading every file of it.

    Args:
        table_dir: Folder of the table.
    """
    log_files = sorted((table_dir / LOG).iterdir())
    commit_paths = {
        int(name_match[1]): file_path
        for file_path in log_files
        if (name_match := _COMMIT.fullmatch(file_path.name))
    }
    checkpoints = [
        (int(name_match[1]), file_path)
        for file_path in log_files
        if (name_match := _CHECKPOINT.fullmatch(file_path.name))
    ]
    bad_checkpoints = {file_path for _, file_path in checkpoints if not _is_checkpoint(file_path)}
    intact_commits = {
        commit_number
        for commit_number, file_path in commit_paths.items()
        if _is_commit(file_path, commit_number)
    }
    # A checkpoint of several parts is readable only if all its parts are.
    start_versions = {checkpoint_number for checkpoint_number, _ in checkpoints}
    start_versions -= {
        checkpoint_number
        for checkpoint_number, file_path in checkpoints
        if file_path in bad_checkpoints
    }
    readable_version = _newest(intact_commits, start_versions)
    newest_number = -1 if readable_version is None else readable_version
    hint_path = table_dir / LOG / _HINT
    damaged_paths = {
        file_path
        for commit_number, file_path in commit_paths.items()
        if commit_number not in intact_commits
    } | bad_checkpoints
    if hint_path.is_file() and _hinted(hint_path) not in start_versions:
        damaged_paths.add(hint_path)
    later_commits = (
        file_path
        for commit_number, file_path in commit_paths.items()
        if commit_number > newest_number and commit_number in intact_commits
    )
    latest_version = max((*commit_paths, *start_versions), default=None)
    return LogState(
        tuple(sorted(damaged_paths)), tuple(sorted(later_commits)), readable_version, latest_version
    )


def damaged_files(table_dir: Path) -> tuple[Path, ...]:
    """Data files of the latest version that are missing or damaged.

    Args:
        table_dir: Folder of a table with an intact log.
    """
    return tuple(file_path for file_path in _named_files(table_dir) if not _is_parquet(file_path))


def unreferenced_files(table_dir: Path) -> tuple[Path, ...]:
    """Data files that do not belong to the latest version.

    Args:
        table_dir: Folder of a table with an intact log.
    """
    named_paths = set(_named_files(table_dir))
    return tuple(
        file_path for file_path in sorted(_data_files(table_dir)) if file_path not in named_paths
    )


def remove_missing_files(table_dir: Path) -> None:
    """Commit a version without the data files that are missing from the disk.

    Args:
        table_dir: Folder of a table with an intact log.

    Raises:
        StoreError: The commit could not be written.
    """
    with translate_store_errors(table_dir.name):
        DeltaTable(str(table_dir)).repair()


def advance_version(table_dir: Path, latest_version: int) -> None:
    """Commit empty versions until the version number exceeds every earlier one.

    Snapshots and trainings refer to version numbers, so a number must not be used twice.

    Args:
        table_dir: Folder of a table with an intact log.
        latest_version: Newest version that was ever committed.

    Raises:
        StoreError: A commit could not be written.
    """
    with translate_store_errors(table_dir.name):
        version = DeltaTable(str(table_dir)).version()
        for version_number in range(
            version + 1, min(latest_version + 1, version + _MAX_EMPTY_COMMITS) + 1
        ):
            action = {"commitInfo": {"timestamp": time.time_ns() // 10**6, "operation": "REPAIR"}}
            with (table_dir / LOG / f"{version_number:020}.json").open(
                "x", encoding="utf-8"
            ) as file:
                file.write(json.dumps(action) + "\n")


def count_rows(table_dir: Path) -> tuple[int, int]:
    """Latest version of a table and its number of rows.

    Args:
        table_dir: Folder of a table.

    Raises:
        StoreError: The table cannot be read.
    """
    with translate_store_errors(table_dir.name):
        delta_table = DeltaTable(str(table_dir))
        return delta_table.version(), delta_table.to_pyarrow_dataset().count_rows()


def readable_rows(data_dir: Path) -> pa.Table | None:
    """Rows of all readable data files in a folder, newest file first; None if there are none.

    Args:
        data_dir: Folder of a table whose log is lost. Rows that several versions contain occur
            several times in the result.
    """
    file_paths = sorted(_data_files(data_dir), key=lambda file_path: -file_path.stat().st_mtime_ns)
    file_rows = [
        _plain_strings(pq.ParquetFile(file_path).read())
        for file_path in file_paths
        if _is_parquet(file_path)
    ]
    return pa.concat_tables(file_rows, promote_options="permissive") if file_rows else None


def _data_files(table_dir: Path) -> Iterator[Path]:
    """Data files of all versions, those in the folders of buckets included."""
    yield from table_dir.glob("*.parquet")
    yield from table_dir.glob(f"{USER_BUCKET}=*/*.parquet")


def _plain_strings(file_rows: pa.Table) -> pa.Table:
    """Rows with string columns as ``pa.string``; files written by a MERGE have string views."""
    return file_rows.cast(plain_schema(file_rows.schema))


def _newest(intact_commits: set[int], checkpoint_versions: set[int]) -> int | None:
    """Last version that an unbroken sequence of commits reaches; None if there is none."""
    best_version: int | None = None
    for start_version in (*sorted(checkpoint_versions), *({0} & intact_commits)):
        reached_version = start_version
        while reached_version + 1 in intact_commits:
            reached_version += 1
        best_version = (
            reached_version if best_version is None else max(best_version, reached_version)
        )
    return best_version


def _is_commit(commit_path: Path, version: int) -> bool:
    """Whether every line is an action; the first commit also needs protocol and metadata."""
    try:
        parsed_lines = [
            json.loads(parsed_line)
            for parsed_line in commit_path.read_bytes().splitlines()
            if parsed_line.strip()
        ]
    except (ValueError, RecursionError):
        return False
    action_names: set[Any] = set()
    for parsed_line in parsed_lines:
        if not isinstance(parsed_line, dict):
            return False
        action_names |= parsed_line.keys()
    return bool(action_names) and (version > 0 or {"protocol", "metaData"} <= action_names)


def _is_checkpoint(checkpoint_path: Path) -> bool:
    """Whether a checkpoint is readable and, unless it is one of several parts, has metadata."""
    if not _is_parquet(checkpoint_path):
        return False
    if _PART.search(checkpoint_path.name):
        return True
    checkpoint_rows = pq.ParquetFile(checkpoint_path).read()
    needed_columns = ("protocol", "metaData")
    return all(
        column_name in checkpoint_rows.column_names
        and checkpoint_rows.column(column_name).null_count < len(checkpoint_rows)
        for column_name in needed_columns
    )


def _hinted(hint_path: Path) -> int | None:
    """Version of the checkpoint in the hint file; None if the file cannot be read."""
    try:
        hint_content = json.loads(hint_path.read_bytes())
    except (ValueError, RecursionError):
        return None
    hinted_version = hint_content.get("version") if isinstance(hint_content, dict) else None
    return hinted_version if isinstance(hinted_version, int) else None


def _named_files(table_dir: Path) -> list[Path]:
    with translate_store_errors(table_dir.name):
        file_uris = DeltaTable(str(table_dir)).file_uris()
    return [Path(unquote(file_uri.removeprefix("file://"))) for file_uri in file_uris]


def _is_parquet(file_path: Path) -> bool:
    """Whether every page of a Parquet file can be decoded.

    Raises:
        OSError: The operating system denies access, so the condition is unknown.
    """
    try:
        with pq.ParquetFile(file_path) as parquet_file:
            for _ in parquet_file.iter_batches():
                pass
    except pa.ArrowException:
        return False
    except OSError as error:  # a decoding error of Arrow has no errno
        if error.errno not in {None, errno.ENOENT}:
            raise
        return False
    return True
