"""Retention of the log of answers: lists that a service showed are removed after some days."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from chronotope.audit import AuditTrail
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.runtime.state import StateConnection, open_existing, purging_deletes
from chronotope.runtime.workspace import Workspace

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
    until = (datetime.now(UTC) - timedelta(days=max_days)).isoformat()
    try:
        log_connection = open_existing(database_path)
        if log_connection is None:
            return 0
        with closing(log_connection):
            n_expired = _delete(log_connection, until, dry_run=dry_run)
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


def _delete(log_connection: StateConnection, until: str, *, dry_run: bool) -> int:
    """Number of expired lists, removed with their freed pages unless ``dry_run``."""
    count_query = f"SELECT count(*) {_EXPIRED}"
    n_expired = int(log_connection.execute(count_query, (until,)).fetchone()[0])
    if n_expired and not dry_run:
        with purging_deletes(log_connection, "interactions"):
            n_expired = log_connection.execute(f"DELETE {_EXPIRED}", (until,)).rowcount
    return n_expired
