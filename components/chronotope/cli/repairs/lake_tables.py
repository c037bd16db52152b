"""Damaged Delta tables, restored to their newest readable version."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chronotope.cli.repairs.damage import BackupFolder, Damage
from chronotope.contracts.errors import StoreError

if TYPE_CHECKING:
    from chronotope.lake.log_repair import LogState

_REINGEST: Final = "ingest the deliveries again (existing events are not written twice)"


def table_damages(table_lake: Path) -> Iterator[Damage]:
    """Damages of logs and data files of a dataset's tables.

    Args:
        table_lake: Folder of the dataset's lake.
    """
    from chronotope.lake.log_repair import damaged_files, examine_log, tables_of

    for table_dir in tables_of(table_lake):
        table_name = f"table {table_lake.name}/{table_dir.name}"
        log_state = examine_log(table_dir)
        if not log_state.is_intact:
            yield Damage(
                table_name,
                _log_problem(log_state),
                _remedy(log_state),
                partial(_repair_log, table_dir),
            )
            continue
        try:
            damaged_paths = damaged_files(table_dir)
        except StoreError as error:  # Delta cannot open a table whose log looks intact
            yield Damage(
                table_name,
                str(error),
                "none; resolve the error above by hand",
                partial(_raise_error, error),
            )
            continue
        if damaged_paths:
            file_names = ", ".join(path.name for path in damaged_paths[:3])
            yield Damage(
                table_name,
                f"{len(damaged_paths)} data files are missing or damaged: {file_names}",
                "move them aside and commit a version without them",
                partial(_repair_files, table_dir, damaged_paths),
            )


def _raise_error(error: StoreError, _: BackupFolder) -> str:
    raise error


def _log_problem(log_state: "LogState") -> str:
    file_names = ", ".join(path.name for path in log_state.damaged[:3]) or "a commit is missing"
    n_unreachable = len(log_state.unreachable)
    lost_text = f"; {n_unreachable} later commits depend on it" if n_unreachable else ""
    return f"its log is damaged ({file_names}){lost_text}"


def _remedy(log_state: "LogState") -> str:
    if log_state.version is None:
        return "rebuild it from the readable data files"
    if log_state.version == log_state.latest:
        return f"move damaged files aside; version {log_state.version} stays the latest"
    return f"return to version {log_state.version} (latest: {log_state.latest})"


def _repair_log(table_dir: Path, backup_folder: BackupFolder) -> str:
    from chronotope.lake.log_repair import (
        advance_version,
        count_rows,
        examine_log,
        unreferenced_files,
    )

    log_state = examine_log(table_dir)
    if log_state.version is None:
        return _rebuild(table_dir, log_state.latest, backup_folder)
    for path in (*log_state.damaged, *log_state.unreachable):
        backup_folder.move(path)
    version, n_rows = count_rows(table_dir)
    outcome_text = f"version {version} remains, with {n_rows:,} rows"
    if log_state.latest is None or version >= log_state.latest:
        return outcome_text
    advance_version(table_dir, log_state.latest)
    outcome_text += f", as version {log_state.latest + 1}"
    unreferenced_paths = unreferenced_files(table_dir)
    file_names = ", ".join(path.name for path in unreferenced_paths[:3])
    unreferenced_text = (
        f"; {len(unreferenced_paths)} data files that do not belong to it remain ({file_names})"
        if unreferenced_paths
        else ""
    )
    return f"{outcome_text}{unreferenced_text}; {_REINGEST}"


def _rebuild(table_dir: Path, latest_number: int | None, backup_folder: BackupFolder) -> str:
    """Move the whole table aside and write its rows to a new table, each key once."""
    from chronotope.lake import Lake
    from chronotope.lake.log_repair import REBUILDABLE, advance_version, count_rows, readable_rows

    table_rows = readable_rows(table_dir) if table_dir.name in REBUILDABLE else None
    has_buckets = any(table_dir.glob("user_bucket=*"))
    moved_to = backup_folder.move(table_dir)
    if table_rows is None:
        return f"no version is readable, so it was moved to {moved_to}; {_REINGEST}"
    table_lake = Lake(table_dir.parent)
    write_by_table = {
        "events": table_lake.merge_events,
        "items": table_lake.upsert_items,
        "users": table_lake.upsert_users,
    }
    write_by_table[table_dir.name](table_rows)
    if latest_number is not None:
        advance_version(table_dir, latest_number)
    version, n_rows = count_rows(table_dir)
    return (
        f"no version was readable, so it was rebuilt from its data files: version {version}, "
        f"with {n_rows:,} rows (they may include rows that had been deleted)"
        + ("; `chronotope rebucket` restores its buckets of users" if has_buckets else "")
    )


def _repair_files(
    table_dir: Path, damaged_paths: tuple[Path, ...], backup_folder: BackupFolder
) -> str:
    from chronotope.lake.log_repair import count_rows, remove_missing_files

    for path in damaged_paths:
        if path.exists():
            backup_folder.move(path)
    remove_missing_files(table_dir)
    version, n_rows = count_rows(table_dir)
    return f"version {version} has {n_rows:,} rows; {_REINGEST}"
