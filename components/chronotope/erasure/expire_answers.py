"""Retention of the log of answers: lists that a service showed are removed after some days."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from chronotope.audit import AuditTrail
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.runtime.workspace import Workspace

_WAIT_S: Final = 60.0
"""Wait for the write lock of another process."""

_EXPIRED: Final = "FROM interactions WHERE kind = 'impression' AND received_at < ?"


def expire_answers(root: Path, dataset: str, max_days: float, *, dry_run: bool = False) -> int:
    """Remove shown lists that are older than some days; returns their number.

    Posted events stay: they are the log itself. Experiments and off-policy estimates then read
    the lists that are left. The removal is recorded in the audit trail.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        max_days: Age up to which lists are kept.
        dry_run: Count only; change nothing.

    Raises:
        ConfigError: The age is negative.
        StoreError: The log cannot be written.
    """
    if max_days < 0:
        raise ConfigError("The age must not be negative", received=max_days)
    workspace = Workspace(root)
    database_path = workspace.interactions(dataset)
    if not database_path.is_file():
        return 0
    until = (datetime.now(UTC) - timedelta(days=max_days)).isoformat()
    try:
        n_expired = _delete(database_path, until, dry_run=dry_run)
    except sqlite3.Error as error:
        raise StoreError(
            "The interaction log cannot be read or written",
            received=f"{database_path}: {error}",
            way_out="Check free disk space, and `chronotope doctor`",
        ) from error
    if n_expired and not dry_run:
        detail = {"n_lists": n_expired, "max_days": max_days}
        AuditTrail(workspace.audit()).append("expire answers", dataset, detail)
    return n_expired


def _delete(database_path: Path, until: str, *, dry_run: bool) -> int:
    """Number of expired lists, removed with their freed pages unless ``dry_run``."""
    database_connection = sqlite3.connect(database_path, timeout=_WAIT_S, isolation_level=None)
    with closing(database_connection):
        if dry_run:
            return int(
                database_connection.execute(f"SELECT count(*) {_EXPIRED}", (until,)).fetchone()[0]
            )
        database_connection.execute("PRAGMA secure_delete = ON")
        n_deleted = database_connection.execute(f"DELETE {_EXPIRED}", (until,)).rowcount
        if n_deleted:
            database_connection.execute("VACUUM")
            database_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return n_deleted
