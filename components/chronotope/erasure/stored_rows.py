"""Rows and records of users: in the tables of the lake, and in the interaction log."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.contracts.predictions import PREDICTIONS_TABLE
from chronotope.erasure.certificate import StoreErasure
from chronotope.lake import Lake
from chronotope.lake.erase_rows import erase_rows
from chronotope.lake.interaction_log import EXCLUDE, EXCLUDED_TABLE
from chronotope.lake.privacy import UserList
from chronotope.lake.text_filter import text_in
from chronotope.runtime.private_files import immediate_transaction
from chronotope.runtime.workspace import Workspace

_OF_USERS: Final = "cast(json_extract({}, '$.user_id') AS TEXT) IN (SELECT value FROM json_each(?))"
_INTERACTIONS_OF_USERS: Final = f"FROM interactions WHERE {_OF_USERS.format('payload')}"
_ALERTS_OF_USERS: Final = f"FROM alerts WHERE {_OF_USERS.format('event')}"
_WAIT_S: Final = 60.0
"""Wait for the write lock of another process."""

_USER_TABLES: Final = ("users", PREDICTIONS_TABLE, "events")
"""Tables with the user of a row; the others hold items, encoders and readings of the context."""


def erase_lake_rows(lake: Lake, user_ids: Sequence[str]) -> Iterator[StoreErasure]:
    """Erase the rows of users from every table, earlier versions included.

    Args:
        lake: Lake of the dataset.
        user_ids: Ids of the users.

    Raises:
        StoreError: The lake cannot be written.
    """
    payloads = _quarantined_payloads(lake, user_ids)
    yield _table("quarantine", erase_rows(lake, "quarantine", c.PAYLOAD, payloads))
    for table_name in _USER_TABLES:
        yield _table(table_name, erase_rows(lake, table_name, c.USER_ID, user_ids))


def count_user_rows(lake: Lake, user_ids: Sequence[str]) -> dict[str, int]:
    """Number of rows of users in the latest version of each table.

    Args:
        lake: Lake of the dataset.
        user_ids: Ids of the users.
    """
    rows_by_table = {
        table_name: lake.dataset(table_name).count_rows(filter=text_in(c.USER_ID, user_ids))
        for table_name in _USER_TABLES
        if lake.exists(table_name)
    }
    return rows_by_table | {"quarantine": len(_quarantined_payloads(lake, user_ids))}


def erase_logged_records(
    workspace: Workspace, dataset: str, user_ids: Sequence[str], erased_users: UserList
) -> Iterator[StoreErasure]:
    """Erase what services logged of users: posted events, shown lists, flagged events.

    The log of a running service refuses further records of them from the same moment.

    Args:
        workspace: Folders of the installation.
        dataset: Name of the dataset.
        user_ids: Ids of the users.
        erased_users: The lake's list, by whose key the log recognises them.

    Raises:
        StoreError: A log cannot be written.
    """
    for store_name, database_path, condition in _service_logs(workspace, dataset):
        n_deleted = 0
        with open_log(database_path) as log_connection:
            if log_connection is not None:
                log_connection.execute("PRAGMA secure_delete = ON")
                with immediate_transaction(log_connection):
                    if condition == _INTERACTIONS_OF_USERS:
                        _exclude_users(log_connection, user_ids, erased_users)
                    statement, texts = f"DELETE {condition}", json.dumps([*user_ids])
                    n_deleted = log_connection.execute(statement, (texts,)).rowcount
                log_connection.execute("VACUUM")
                log_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield StoreErasure(
            store=store_name,
            n_removed=n_deleted,
            unit="records",
            note="Freed pages are overwritten",
        )


def _exclude_users(
    log_connection: sqlite3.Connection, user_ids: Sequence[str], erased_users: UserList
) -> None:
    log_connection.execute(EXCLUDED_TABLE)
    digest_rows = [(erased_users.digest(user_id), erased_users.key) for user_id in user_ids]
    log_connection.executemany(EXCLUDE, digest_rows)


def count_logged_records(workspace: Workspace, dataset: str, user_ids: Sequence[str]) -> int:
    """Number of records that services logged of users.

    Args:
        workspace: Folders of the installation.
        dataset: Name of the dataset.
        user_ids: Ids of the users.

    Raises:
        StoreError: A log cannot be read.
    """
    n_records = 0
    for _, database_path, condition in _service_logs(workspace, dataset):
        with open_log(database_path) as log_connection:
            if log_connection is not None:
                query = f"SELECT count(*) {condition}"
                n_records += log_connection.execute(query, (json.dumps([*user_ids]),)).fetchone()[0]
    return n_records


def _service_logs(workspace: Workspace, dataset: str) -> tuple[tuple[str, Path, str], ...]:
    """Name and file of each log, and the SQL condition of the records of users."""
    return (
        ("interaction log", workspace.interactions(dataset), _INTERACTIONS_OF_USERS),
        ("flagged events", workspace.anomaly_alerts(dataset), _ALERTS_OF_USERS),
    )


@contextmanager
def open_log(database_path: Path) -> Iterator[sqlite3.Connection | None]:
    """Connection to a SQLite log; None where there is none, since it is not created."""
    if not database_path.exists():
        yield None
        return
    try:
        with closing(
            sqlite3.connect(database_path, timeout=_WAIT_S, isolation_level=None)
        ) as log_connection:
            yield log_connection
    except sqlite3.Error as error:
        raise StoreError(
            "Records of an erased user cannot be removed",
            received=f"{database_path}: {error}",
            way_out="Check that the file is writable and the disk is not full, and run again",
        ) from error


def _table(table_name: str, n_rows: int) -> StoreErasure:
    return StoreErasure(
        store=f"lake: {table_name}",
        n_removed=n_rows,
        unit="rows",
        note="Files and log entries of earlier versions are removed, too",
    )


def _quarantined_payloads(lake: Lake, user_ids: Sequence[str]) -> list[str]:
    """Refused rows, as stored, one of whose values is the id of one of the users."""
    if not lake.exists("quarantine"):
        return []
    payloads = lake.read("quarantine", columns=[c.PAYLOAD]).column(0).cast(pa.string())
    mentions = pa.array([False] * len(payloads))
    for user_id in user_ids:
        escaped_id = json.dumps(user_id, ensure_ascii=False)[1:-1]
        found = pc.match_substring(payloads, escaped_id)
        mentions = pc.or_(mentions, pc.fill_null(found.combine_chunks(), False))
    wanted = set(user_ids)
    candidates = set(payloads.filter(mentions).to_pylist())
    return sorted(payload for payload in candidates if wanted & set(_texts(payload)))


def _texts(payload: str) -> Iterator[str]:
    """Values of a refused row as texts, and the fields of a line that was not split."""
    try:
        content: Any = json.loads(payload)
    except ValueError:
        content = payload
    for value in content.values() if isinstance(content, dict) else [content]:
        text = str(value)
        yield text
        for delimiter in (",", "\t", ";", "|"):
            yield from (field.strip().strip('"') for field in text.split(delimiter))
