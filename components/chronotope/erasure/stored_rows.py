"""Rows and records of users: in the tables of the lake, and in the interaction log."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.predictions import PREDICTIONS_TABLE
from chronotope.erasure.certificate import StoreErasure
from chronotope.lake import InteractionLog, Lake
from chronotope.lake.erase_rows import erase_rows

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


def erase_interactions(database: Path, user_ids: Sequence[str]) -> StoreErasure:
    """Erase the posted events and shown impressions of users.

    Args:
        database: File of the interaction log; a missing one is not created.
        user_ids: Ids of the users.

    Raises:
        StoreError: The log cannot be written.
    """
    n_deleted = 0
    if database.exists():
        interaction_log = InteractionLog(database)
        try:
            n_deleted = interaction_log.erase_users(user_ids)
        finally:
            interaction_log.close()
    return StoreErasure(
        store="interaction log",
        n_removed=n_deleted,
        unit="records",
        note="Posted events and impressions; freed pages are overwritten",
    )


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
