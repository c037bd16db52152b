"""Retention: what is older than some days is removed from every store of a dataset."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from chronotope.audit import AuditTrail
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.predictions import PREDICTIONS_TABLE, SCORED_AT
from chronotope.erasure.certificate import StoreErasure
from chronotope.erasure.derived_files import derived_folders, remove_files_before
from chronotope.erasure.stored_rows import open_log
from chronotope.lake import Lake
from chronotope.lake.erase_rows import count_before, delete_before, forget_versions
from chronotope.lake.privacy import read_privacy
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.state import (
    StateConnection,
    delete_document,
    purging_deletes,
    read_document,
    write_document,
)
from chronotope.runtime.workspace import Workspace

MAX_DERIVED_DAYS: Final = 30.0
"""Days for which files made from rows are kept, beyond the retention of the rows themselves."""

_TIME_COLUMNS: Final = {
    "events": c.OCCURRED_AT,
    "quarantine": c.QUARANTINED_AT,
    PREDICTIONS_TABLE: SCORED_AT,
}
_DAY_S: Final = 86_400


class RetentionReport(BaseModel):
    """What was removed, by store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Name of the dataset")
    expired_before: AwareDatetime = Field(description="Earliest time that is kept")
    stores: tuple[StoreErasure, ...] = Field(description="Every store that was looked at")

    @property
    def n_removed(self) -> int:
        """Rows, records and files in all."""
        return sum(store.n_removed for store in self.stores)


def expire_data(
    root: Path,
    dataset: str,
    *,
    retain_days: float | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> RetentionReport:
    """Remove what is past retention: lake in all versions, logs, files made from rows.

    The dataset's lock is held. Every step removes what is there, and a file says that versions of
    tables have yet to be given up: a run that was killed is run again as a whole.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        retain_days: Days to keep; None takes those of the dataset's YAML, as the lake has them.
        now: Time from which the days count back; by default the present.
        dry_run: Count only; change nothing.

    Raises:
        ConfigError: Neither the call nor the dataset says how long.
        StoreError: A store cannot be read or written.
    """
    workspace = Workspace(root)
    lake = Lake(workspace.lake(dataset))
    if retain_days is None:
        retain_days = read_privacy(lake).settings.retain_days
    if retain_days is None or retain_days <= 0:
        raise ConfigError(
            f"{dataset} keeps its data for good",
            received="no privacy.retain_days" if retain_days is None else retain_days,
            way_out="Set privacy.retain_days in the dataset's YAML and ingest, or pass --days",
        )
    expired_before = (now or datetime.now(UTC)) - timedelta(days=retain_days)
    derived_before = (now or datetime.now(UTC)) - timedelta(days=min(retain_days, MAX_DERIVED_DAYS))
    with dataset_lock(workspace, dataset):
        lake.version("events")  # a dataset without a lake is refused before anything is written
        stores = [
            *_expire_tables(workspace, lake, dataset, expired_before, dry_run=dry_run),
            *_expire_logs(workspace, dataset, expired_before, dry_run=dry_run),
            *_expire_derived(workspace, dataset, derived_before, dry_run=dry_run),
        ]
        report = RetentionReport(
            dataset=dataset, expired_before=expired_before, stores=tuple(stores)
        )
        if report.n_removed and not dry_run:
            detail = {"n_removed": report.n_removed, "retain_days": retain_days}
            AuditTrail(workspace.audit()).append("retain", dataset, detail)
    return report


def _expire_tables(
    workspace: Workspace, lake: Lake, dataset: str, before: datetime, *, dry_run: bool
) -> Iterator[StoreErasure]:
    """Rows of the lake; earlier versions are given up only where rows were removed."""
    pending_path = workspace.erasures(dataset) / "retention.pending"
    pending_tables: set[str] = set(json.loads(read_document(pending_path) or "[]"))
    for table_name, time_column in _TIME_COLUMNS.items():
        n_rows = count_before(lake, table_name, time_column, before)
        if not dry_run and (n_rows or table_name in pending_tables):
            pending_tables.add(table_name)
            private_folder(pending_path.parent)
            write_document(pending_path, json.dumps(sorted(pending_tables)))
            delete_before(lake, table_name, time_column, before)
            forget_versions(lake, table_name)
        yield StoreErasure(
            store=f"lake: {table_name}",
            n_removed=n_rows,
            unit="rows",
            note="Files of earlier versions are removed, too" if n_rows else "",
        )
    if not dry_run:
        delete_document(pending_path)


def _expire_logs(
    workspace: Workspace, dataset: str, before: datetime, *, dry_run: bool
) -> Iterator[StoreErasure]:
    day_before = before.timestamp() // _DAY_S
    logs: tuple[tuple[str, Path, str, object], ...] = (
        (
            "interaction log",
            workspace.interactions(dataset),
            "interactions WHERE received_at < ?",
            before.isoformat(),
        ),
        (
            "flagged events",
            workspace.anomaly_alerts(dataset),
            "alerts WHERE day < ?",
            day_before,
        ),
        (
            "labels of events",
            workspace.event_labels(dataset),
            "event_labels WHERE labelled_at < ?",
            before.isoformat(),
        ),
    )
    for store_name, database_path, row_condition, bound_value in logs:
        with open_log(database_path) as log_connection:
            n_records = (
                0
                if log_connection is None
                else _expire_log(log_connection, row_condition, bound_value, dry_run)
            )
        yield StoreErasure(store=store_name, n_removed=n_records, unit="records")


def _expire_log(
    log_connection: StateConnection, row_condition: str, bound_value: object, dry_run: bool
) -> int:
    statement = f"SELECT count(*) FROM {row_condition}"  # noqa: S608 - ours
    n_records = int(log_connection.execute(statement, (bound_value,)).fetchone()[0])
    if n_records and not dry_run:
        with purging_deletes(log_connection, row_condition.split()[0]):
            log_connection.execute(f"DELETE FROM {row_condition}", (bound_value,))  # noqa: S608 - ours
    return n_records


def _expire_derived(
    workspace: Workspace, dataset: str, before: datetime, *, dry_run: bool
) -> Iterator[StoreErasure]:
    """Folders and files made from rows whose newest file is too old."""
    for folder in derived_folders(workspace, dataset):
        folder_entries = sorted(folder.iterdir()) if folder.is_dir() else []
        n_files = 0
        for folder_entry in folder_entries:
            files = (
                [folder_entry]
                if folder_entry.is_file()
                else [p for p in folder_entry.rglob("*") if p.is_file()]
            )
            if all(file_path.stat().st_mtime < before.timestamp() for file_path in files):
                n_files += len(files)
                if not dry_run:
                    _remove(folder_entry)
        yield StoreErasure(
            store=str(folder.relative_to(workspace.root)), n_removed=n_files, unit="files"
        )
    yield remove_files_before(workspace, before, dry_run=dry_run)


def _remove(file_path: Path) -> None:
    if file_path.is_dir():
        shutil.rmtree(file_path)
    else:
        file_path.unlink(missing_ok=True)
