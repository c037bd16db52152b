"""Rotation of the key of pseudonyms: every store follows the new key, and no history is lost.

A pseudonym by the new key is computed from the one by the old key, so no ids are needed. Each table
and log is rewritten in one commit, and what is rewritten already stays: a rotation that was killed
is run again as a whole. The lake takes the new key's fingerprint last; until then every ingestion
and service refuses to start with the new keys.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.audit import AuditTrail
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.predictions import PREDICTIONS_TABLE
from chronotope.contracts.strict_json import JsonObject
from chronotope.erasure.certificate import StoreErasure
from chronotope.erasure.derived_files import remove_derived_files, remove_files_with_pseudonyms
from chronotope.erasure.stored_rows import open_log
from chronotope.lake import Lake
from chronotope.lake.erase_rows import forget_versions, replace_rows
from chronotope.lake.event_labels import KEY_PREFIX
from chronotope.lake.interaction_log import EXCLUDE, EXCLUDED_TABLE
from chronotope.lake.privacy import LakePrivacy, read_privacy, rotate_user_list, write_privacy
from chronotope.lake.table_schemas import ERASED_USERS, OPTED_OUT_USERS
from chronotope.privacy import PseudonymKeys, is_pseudonym, read_keys, rotated_event_ids
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.state import StateConnection, purging_deletes, write_transaction
from chronotope.runtime.workspace import Workspace

DIGEST_CHARS: Final = 32
"""Digits of a pseudonym; a digest of another length is of a plain id, which nobody logs."""

_READ_RECORDS: Final = 10_000
"""Records of a log that are read at a time."""

_TABLES: Final = ("events", "users", PREDICTIONS_TABLE, "quarantine")


@dataclass(frozen=True, slots=True)
class RotationReport:
    """Result of a rotation.

    Attributes:
        old_fingerprint: Of the key before.
        new_fingerprint: Of the key now.
        stores: What was rewritten; empty in a dry run.
    """

    old_fingerprint: str
    new_fingerprint: str
    stores: tuple[StoreErasure, ...]


def rotate_pseudonyms(root: Path, dataset: str, *, dry_run: bool = False) -> RotationReport:
    """Rewrite every store of a dataset to the newest key of the environment.

    Stop the services of the dataset before: they log with the key that they started with.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        dry_run: Check the keys only; change nothing.

    Raises:
        ConfigError: The dataset has no pseudonyms, the keys are not those of the lake, or there
            is no new one.
        StoreError: A store cannot be read or written.
    """
    workspace = Workspace(root)
    lake = Lake(workspace.lake(dataset))
    with dataset_lock(workspace, dataset):
        privacy = read_privacy(lake)
        keys = _new_keys(privacy, dataset)
        stores: list[StoreErasure] = []
        if not dry_run:
            label_ids = _rotated_labels(lake, keys, workspace.event_labels(dataset))
            stores += _rotate_logs(workspace, dataset, keys, label_ids)
            _rotate_exclusions(workspace, dataset, keys)
            stores += _rotate_tables(lake, keys, privacy)
            stores += remove_derived_files(workspace, dataset)
            stores.append(remove_files_with_pseudonyms(workspace, privacy.fingerprints[-1]))
            write_privacy(lake, LakePrivacy(privacy.settings, keys.fingerprints))
            forget_versions(lake, "privacy")
            detail = {"old": privacy.fingerprints[-1], "new": keys.fingerprints[-1]}
            AuditTrail(workspace.audit()).append("rotate pseudonyms", dataset, detail)
    return RotationReport(privacy.fingerprints[-1], keys.fingerprints[-1], tuple(stores))


def _new_keys(privacy: LakePrivacy, dataset: str) -> PseudonymKeys:
    """Keys of the environment, of which exactly one is new to the lake."""
    if privacy.settings.pseudonyms is None or not privacy.fingerprints:
        raise ConfigError(
            f"The lake of {dataset} has no pseudonyms",
            way_out="Ingest with privacy.pseudonyms in the dataset's YAML first",
        )
    keys, known = read_keys(privacy.settings.pseudonyms, dataset), privacy.fingerprints
    if keys.fingerprints[: len(known)] != known:
        raise ConfigError(
            f"The keys of the pseudonyms of {dataset} are not those of its lake",
            received=f"fingerprints {', '.join(keys.fingerprints)}; the lake has "
            f"{', '.join(known)}",
            way_out="Set the keys of the lake, oldest first, then a comma and the new key",
        )
    if len(keys.fingerprints) != len(known) + 1:
        raise ConfigError(
            f"A rotation of the pseudonyms of {dataset} needs one new key",
            received=f"{len(keys.fingerprints) - len(known)} new keys",
            way_out=f"Append one to ${privacy.settings.pseudonyms.variable}, after a comma",
        )
    return keys


def _rotate_tables(lake: Lake, keys: PseudonymKeys, privacy: LakePrivacy) -> Iterator[StoreErasure]:
    hidden_columns = {c.USER_ID} | privacy.settings.identifiers

    def convert_rows(rows: pa.Table) -> pa.Table:
        if c.PAYLOAD in rows.column_names:
            payloads = [
                _rotated_payload(text, keys, hidden_columns) for text in rows[c.PAYLOAD].to_pylist()
            ]
            return _replaced(rows, c.PAYLOAD, pa.array(payloads, pa.string()))
        old_ids = rows[c.USER_ID].combine_chunks().cast(pa.string())
        new_ids = keys.pseudonyms(old_ids)
        if c.EVENT_ID in rows.column_names:
            event_ids = rows[c.EVENT_ID].combine_chunks().cast(pa.string())
            rows = _replaced(rows, c.EVENT_ID, _rotated_ids(event_ids, old_ids, new_ids))
        for column_name in hidden_columns & {*rows.column_names} - {c.USER_ID}:
            rows = _replaced(rows, column_name, keys.pseudonyms(rows[column_name]))
        return _replaced(rows, c.USER_ID, new_ids)

    for table_name in _TABLES:
        if lake.exists(table_name):
            n_rows = replace_rows(lake, table_name, convert_rows)
            forget_versions(lake, table_name)
            yield _store(f"lake: {table_name}", n_rows, "rows")
    for table_name in (ERASED_USERS, OPTED_OUT_USERS):
        n_rows = rotate_user_list(lake, table_name, keys)
        yield _store(f"lake: {table_name}", n_rows, "rows")


def _rotated_ids(event_ids: pa.Array, old_ids: pa.Array, new_ids: pa.Array) -> pa.Array:
    """Event ids that follow; those of rows that were rewritten already stay."""
    rotated_ids = rotated_event_ids(event_ids, old_ids, new_ids)
    return pc.if_else(pc.equal(old_ids, new_ids), event_ids, rotated_ids)


def _rotated_payload(text: str, keys: PseudonymKeys, hidden_columns: set[str]) -> str:
    try:
        row: JsonObject = json.loads(text)
    except ValueError:
        return text
    for column_name in hidden_columns & {*row}:
        value = row[column_name]
        if isinstance(value, str) and is_pseudonym(value):
            row[column_name] = keys.pseudonym(value)
    return json.dumps(row)


def _rotated_labels(lake: Lake, keys: PseudonymKeys, labels_path: Path) -> dict[str, str]:
    """New id of each labelled event of the lake; found before the events are rewritten."""
    with open_log(labels_path) as log_connection:
        if log_connection is None or not lake.exists("events"):
            return {}
        statement = "SELECT DISTINCT event_id FROM event_labels"
        labelled_ids = [row[0] for row in log_connection.execute(statement).fetchall()]
    labelled_ids = [name for name in labelled_ids if not name.startswith(KEY_PREFIX)]
    is_labelled = pc.field(c.EVENT_ID).cast(pa.string()).isin(pa.array(labelled_ids, pa.string()))
    rows = lake.dataset("events").to_table(columns=[c.EVENT_ID, c.USER_ID], filter=is_labelled)
    if not len(rows):
        return {}
    event_ids, old_ids = (
        rows[name].combine_chunks().cast(pa.string()) for name in (c.EVENT_ID, c.USER_ID)
    )
    new_ids = _rotated_ids(event_ids, old_ids, keys.pseudonyms(old_ids))
    return dict(zip(event_ids.to_pylist(), new_ids.to_pylist(), strict=True))


def _rotate_logs(
    workspace: Workspace, dataset: str, keys: PseudonymKeys, label_ids: dict[str, str]
) -> Iterator[StoreErasure]:
    def rotated_json(text: str) -> str:
        payload: JsonObject = json.loads(text)
        user_id = payload.get(c.USER_ID)
        if isinstance(user_id, str):
            payload[c.USER_ID] = keys.pseudonym(user_id)
        return json.dumps(payload, separators=(",", ":"))

    logs: tuple[tuple[str, Path, str, str, Callable[[str], str]], ...] = (
        (
            "labels of events",
            workspace.event_labels(dataset),
            "event_labels",
            "event_id",
            lambda event_id: label_ids.get(event_id, event_id),
        ),
        (
            "interaction log",
            workspace.interactions(dataset),
            "interactions",
            "payload",
            rotated_json,
        ),
        ("flagged events", workspace.anomaly_alerts(dataset), "alerts", "event", rotated_json),
    )
    for store_name, database_path, table_name, column_name, convert_text in logs:
        with open_log(database_path) as log_connection:
            n_records = (
                0
                if log_connection is None
                else _rewrite_log(log_connection, table_name, column_name, convert_text)
            )
        yield _store(store_name, n_records, "records")


def _rotate_exclusions(workspace: Workspace, dataset: str, keys: PseudonymKeys) -> None:
    """Digests of erased users in the interaction log; those that were rewritten already stay."""
    old_fingerprint, new_fingerprint = keys.fingerprints[-2:]
    with open_log(workspace.interactions(dataset)) as log_connection:
        if log_connection is None:
            return
        with write_transaction(log_connection):
            log_connection.execute(EXCLUDED_TABLE)
            digests = log_connection.execute(
                "SELECT digest FROM excluded_users WHERE digest_key <> ?", (new_fingerprint,)
            ).fetchall()
            log_connection.execute(
                "DELETE FROM excluded_users WHERE digest_key <> ?", (new_fingerprint,)
            )
            rotated_digests = [
                (keys.pseudonym(f"pn-{old_fingerprint}-{digest}")[-DIGEST_CHARS:], new_fingerprint)
                for (digest,) in digests
                if len(digest) == DIGEST_CHARS
            ]
            log_connection.executemany(EXCLUDE, rotated_digests)


def _rewrite_log(
    log_connection: StateConnection,
    table_name: str,
    column_name: str,
    convert_text: Callable[[str], str],
) -> int:
    """Rewrite one column of a log in one transaction; returns the number of changed records."""
    records_query = (
        f"SELECT seq, {column_name} FROM {table_name} "  # noqa: S608 - ours
        "WHERE seq > ? ORDER BY seq LIMIT ?"
    )
    update_statement = f"UPDATE {table_name} SET {column_name} = ? WHERE seq = ?"  # noqa: S608 - ours
    n_changed, last_position = 0, 0
    with purging_deletes(log_connection, table_name), write_transaction(log_connection):
        while log_records := log_connection.execute(
            records_query, (last_position, _READ_RECORDS)
        ).fetchall():
            rotated_rows = [
                (rotated_text, record_position)
                for record_position, record_text in log_records
                if (rotated_text := convert_text(record_text)) != record_text
            ]
            log_connection.executemany(update_statement, rotated_rows)
            n_changed, last_position = n_changed + len(rotated_rows), log_records[-1][0]
    return n_changed


def _replaced(rows: pa.Table, column_name: str, column: pa.Array) -> pa.Table:
    column_idx = rows.column_names.index(column_name)
    return rows.set_column(column_idx, pa.field(column_name, pa.string()), column)


def _store(store_name: str, n_rows: int, unit: str) -> StoreErasure:
    return StoreErasure(store=store_name, n_removed=n_rows, unit=unit, note="Rewritten")
