"""A Delta table on a disk whose log or files are damaged: what of it can still be read.

A log is a row of commits, one JSON file a version, and now and then a checkpoint that stands for
all commits up to it. A table can be read up to the last version from which an unbroken row of
readable commits leads back to a readable checkpoint, or to the first commit.
"""

import errno
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from chronotope.lake.store_errors import translate_store_errors

LOG: Final = "_delta_log"
REBUILDABLE: Final = frozenset({"events", "items", "users"})
"""Tables whose rows have an id, so that they can be built again from their files alone."""

_COMMIT: Final = re.compile(r"(\d{20})\.json")
_CHECKPOINT: Final = re.compile(r"(\d{20})\.checkpoint(\..+)?\.parquet")
_PART: Final = re.compile(r"\.\d{10}\.\d{10}\.parquet$")
_HINT: Final = "_last_checkpoint"
_MOST_COMMITS: Final = 10_000
"""More were never lost: a file with a larger number is a stray one."""


@dataclass(frozen=True, slots=True)
class LogState:
    """What a table's log is worth.

    Attributes:
        damaged: Files of the log that cannot be read.
        unreachable: Later commits that are whole, with a damaged or missing one before them.
        version: The newest version that can be read; None if none can.
        latest: The newest version that was ever committed; None without any commit.
    """

    damaged: tuple[Path, ...]
    unreachable: tuple[Path, ...]
    version: int | None
    latest: int | None

    @property
    def is_whole(self) -> bool:
        """Whether nothing has to be mended."""
        return not self.damaged and not self.unreachable and self.version is not None


def tables_of(lake: Path) -> tuple[Path, ...]:
    """Folders of a dataset's tables, sorted.

    Args:
        lake: Folder of the dataset's lake.
    """
    return tuple(sorted(path.parent for path in lake.glob(f"*/{LOG}") if path.is_dir()))


def examine_log(table: Path) -> LogState:
    """Read every file of a table's log.

    Args:
        table: Folder of the table.
    """
    files = sorted((table / LOG).iterdir())
    commits = {int(m[1]): path for path in files if (m := _COMMIT.fullmatch(path.name))}
    checkpoints = [(int(m[1]), path) for path in files if (m := _CHECKPOINT.fullmatch(path.name))]
    bad_checkpoints = {path for _, path in checkpoints if not _is_checkpoint(path)}
    whole = {version for version, path in commits.items() if _is_commit(path, version)}
    starts = {version for version, _ in checkpoints}
    starts -= {version for version, path in checkpoints if path in bad_checkpoints}
    version = _newest(whole, starts)
    reachable = -1 if version is None else version
    hint = table / LOG / _HINT
    damaged = {path for number, path in commits.items() if number not in whole} | bad_checkpoints
    if hint.is_file() and _hinted(hint) not in starts:
        damaged.add(hint)
    later = (path for number, path in commits.items() if number > reachable and number in whole)
    latest = max((*commits, *starts), default=None)
    return LogState(tuple(sorted(damaged)), tuple(sorted(later)), version, latest)


def damaged_files(table: Path) -> tuple[Path, ...]:
    """Data files of the latest version that are missing or cannot be read to their end.

    Args:
        table: Folder of a table whose log is whole.
    """
    return tuple(path for path in _named_files(table) if not _is_parquet(path))


def unnamed_files(table: Path) -> tuple[Path, ...]:
    """Data files that the latest version does not name: of earlier versions, or of no version.

    Args:
        table: Folder of a table whose log is whole.
    """
    named = set(_named_files(table))
    return tuple(path for path in sorted(table.glob("*.parquet")) if path not in named)


def forget_missing(table: Path) -> None:
    """Commit a version without the data files that are not there any more.

    Args:
        table: Folder of a table whose log is whole.

    Raises:
        StoreError: The commit could not be written.
    """
    with translate_store_errors(table.name):
        DeltaTable(str(table)).repair()


def pass_version(table: Path, latest: int) -> None:
    """Commit versions that change nothing until one is newer than any that there ever was.

    A version number stands for its rows in snapshots and trainings: it must not come twice.

    Args:
        table: Folder of a table whose log is whole.
        latest: The newest version that was ever committed.

    Raises:
        StoreError: A commit could not be written.
    """
    with translate_store_errors(table.name):
        version = DeltaTable(str(table)).version()
        for number in range(version + 1, min(latest + 1, version + _MOST_COMMITS) + 1):
            action = {"commitInfo": {"timestamp": time.time_ns() // 10**6, "operation": "REPAIR"}}
            with (table / LOG / f"{number:020}.json").open("x", encoding="utf-8") as file:
                file.write(json.dumps(action) + "\n")


def count_rows(table: Path) -> tuple[int, int]:
    """Latest version of a table and its rows.

    Args:
        table: Folder of a table.

    Raises:
        StoreError: It cannot be read.
    """
    with translate_store_errors(table.name):
        opened = DeltaTable(str(table))
        return opened.version(), opened.to_pyarrow_dataset().count_rows()


def readable_rows(folder: Path) -> pa.Table | None:
    """Rows of all data files in a folder that can be read, newest first; None if there are none.

    Args:
        folder: Such as of a table whose log is lost. Equal rows of several versions are in it.
    """
    files = sorted(folder.glob("*.parquet"), key=lambda path: -path.stat().st_mtime_ns)
    tables = [_plain_strings(pq.ParquetFile(path).read()) for path in files if _is_parquet(path)]
    return pa.concat_tables(tables, promote_options="permissive") if tables else None


def _plain_strings(rows: pa.Table) -> pa.Table:
    """Rows with one type of string: files written by a MERGE have another one."""
    fields = [
        pa.field(f.name, pa.string() if pa.types.is_string_view(f.type) else f.type)
        for f in rows.schema
    ]
    return rows.cast(pa.schema(fields))


def _newest(whole: set[int], checkpoints: set[int]) -> int | None:
    """The last version to which an unbroken row of commits leads."""
    best: int | None = None
    for start in (*sorted(checkpoints), *({0} & whole)):
        version = start
        while version + 1 in whole:
            version += 1
        best = version if best is None else max(best, version)
    return best


def _is_commit(path: Path, version: int) -> bool:
    """Whether every line is an action; the first commit has to say what the table is."""
    try:
        lines = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return False
    actions: set[Any] = set()
    for line in lines:
        if not isinstance(line, dict):
            return False
        actions |= line.keys()
    return bool(actions) and (version > 0 or {"protocol", "metaData"} <= actions)


def _is_checkpoint(path: Path) -> bool:
    """Whether a checkpoint can be read; unless it is a part, it says what the table is."""
    if not _is_parquet(path):
        return False
    if _PART.search(path.name):
        return True
    rows = pq.ParquetFile(path).read()
    needed = ("protocol", "metaData")
    return all(
        name in rows.column_names and rows.column(name).null_count < len(rows) for name in needed
    )


def _hinted(path: Path) -> int | None:
    """Version of the checkpoint that the hint names; None if it cannot be read."""
    try:
        hint = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    version = hint.get("version") if isinstance(hint, dict) else None
    return version if isinstance(version, int) else None


def _named_files(table: Path) -> list[Path]:
    with translate_store_errors(table.name):
        uris = DeltaTable(str(table)).file_uris()
    return [Path(unquote(uri.removeprefix("file://"))) for uri in uris]


def _is_parquet(path: Path) -> bool:
    """Whether every page of a file can be read.

    Raises:
        OSError: The operating system refuses: that says nothing about the file.
    """
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches():
                pass
    except pa.ArrowException:
        return False
    except OSError as error:  # what Arrow cannot decode has no number
        if error.errno not in {None, errno.ENOENT}:
            raise
        return False
    return True
