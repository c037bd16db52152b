"""Rows and records of users: in the tables of the lake, and in the interaction log."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
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
from chronotope.runtime.state import (
    StateConnection,
    open_existing,
    purging_deletes,
    write_transaction,
)
from chronotope.runtime.store_urls import state_url
from chronotope.runtime.workspace import Workspace

_READ_RECORDS: Final = 10_000
"""Records of a log that are read at a time."""

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


def stored_user_ids(lake: Lake, user_ids: Sequence[str]) -> set[str]:
    """Those of the ids that have rows in the latest version of a table.

    Args:
        lake: Lake of the dataset.
        user_ids: Ids of the users.
    """
    known_ids: set[str] = set()
    for table_name in _USER_TABLES:
        if lake.exists(table_name):
            rows = lake.dataset(table_name).to_table(
                columns=[c.USER_ID], filter=text_in(c.USER_ID, user_ids)
            )
            known_ids.update(pc.unique(rows[c.USER_ID]).to_pylist())
    return known_ids


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
    for service_log in _service_logs(workspace, dataset):
        n_deleted = 0
        with open_log(service_log.path) as log_connection:
            if log_connection is not None:
                if service_log.table == "interactions":  # no record of them comes after this
                    _exclude_users(log_connection, user_ids, erased_users)
                n_deleted = _delete_records(log_connection, service_log, user_ids)
        yield StoreErasure(
            store=service_log.name,
            n_removed=n_deleted,
            unit="records",
            note="The write-ahead log and backups of the server are kept by its own rules"
            if state_url()
            else "Freed pages are overwritten",
        )


def _exclude_users(
    log_connection: StateConnection, user_ids: Sequence[str], erased_users: UserList
) -> None:
    digest_rows = [(erased_users.digest(user_id), erased_users.key) for user_id in user_ids]
    with write_transaction(log_connection):
        log_connection.execute(EXCLUDED_TABLE)
        log_connection.executemany(EXCLUDE, digest_rows)


def _delete_records(
    log_connection: StateConnection, service_log: "_ServiceLog", user_ids: Sequence[str]
) -> int:
    record_positions = list(_positions_of_users(log_connection, service_log, user_ids))
    with purging_deletes(log_connection, service_log.table), write_transaction(log_connection):
        log_connection.executemany(
            f"DELETE FROM {service_log.table} WHERE seq = ?",  # noqa: S608 - ours
            [(record_position,) for record_position in record_positions],
        )
    return len(record_positions)


def _positions_of_users(
    log_connection: StateConnection, service_log: "_ServiceLog", user_ids: Sequence[str]
) -> Iterator[int]:
    """Positions of the records of users, read in parts and parsed here: one rule for any store."""
    wanted_ids, last_position = set(user_ids), 0
    records_query = (
        f"SELECT seq, {service_log.column} FROM {service_log.table} "  # noqa: S608 - ours
        "WHERE seq > ? ORDER BY seq LIMIT ?"
    )
    while log_records := log_connection.execute(
        records_query, (last_position, _READ_RECORDS)
    ).fetchall():
        for record_position, record_text in log_records:
            if str(json.loads(record_text).get(c.USER_ID)) in wanted_ids:
                yield record_position
        last_position = log_records[-1][0]


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
    for service_log in _service_logs(workspace, dataset):
        with open_log(service_log.path) as log_connection:
            if log_connection is not None:
                n_records += sum(
                    1 for _ in _positions_of_users(log_connection, service_log, user_ids)
                )
    return n_records


@dataclass(frozen=True, slots=True)
class _ServiceLog:
    """Log of a service: its name, its store, and the column with the JSON of a record."""

    name: str
    path: Path
    table: str
    column: str


def _service_logs(workspace: Workspace, dataset: str) -> tuple[_ServiceLog, ...]:
    return (
        _ServiceLog("interaction log", workspace.interactions(dataset), "interactions", "payload"),
        _ServiceLog("flagged events", workspace.anomaly_alerts(dataset), "alerts", "event"),
    )


@contextmanager
def open_log(database_path: Path) -> Iterator[StateConnection | None]:
    """Connection to a log; None where there is none, since it is not created."""
    try:
        log_connection = open_existing(database_path)
        if log_connection is None:
            yield None
            return
        with closing(log_connection):
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
