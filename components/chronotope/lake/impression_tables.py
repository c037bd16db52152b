"""Tables of the interaction log: actions of users, and impressions with their list positions.

SQLite extracts the columns from the JSON payloads, so that no record becomes a Python object. A
field that is missing or has another type is null. Records of a log in the state database are read
in parts, each into a SQLite table in memory: one rule for both.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.lake.interaction_log import InteractionLog, Kind

ANSWER: Final = "answer"
AT_S: Final = "at_s"
POSITION: Final = "position"
PROPENSITY: Final = "propensity"
VERSION: Final = "version"
POLICY: Final = "policy"

ACTIONS: Final = pa.schema([(c.USER_ID, pa.string()), (c.ITEM_ID, pa.string()), (AT_S, pa.int64())])
SHOWN: Final = pa.schema(
    [
        (ANSWER, pa.int64()),
        (c.USER_ID, pa.string()),
        (AT_S, pa.int64()),
        (VERSION, pa.string()),
        (POLICY, pa.string()),
        (POSITION, pa.int64()),
        (c.ITEM_ID, pa.string()),
        (PROPENSITY, pa.float64()),
    ]
)

_READ_RECORDS: Final = 10_000
_RECORDS: Final = (
    "SELECT seq, kind, payload FROM interactions WHERE seq > ? AND kind = ? ORDER BY seq LIMIT ?"
)
_ACTIONS: Final = """
SELECT cast(json_extract(payload, '$.user_id') AS TEXT),
       cast(json_extract(payload, '$.item_id') AS TEXT),
       CASE WHEN json_type(payload, '$.occurred_at') = 'text'
            THEN cast(strftime('%s', json_extract(payload, '$.occurred_at')) AS INTEGER) END
FROM interactions WHERE kind = 'event'
"""
_SHOWN: Final = """
SELECT seq, cast(json_extract(payload, '$.user_id') AS TEXT),
       CASE WHEN json_type(payload, '$.shown_at') = 'text'
            THEN cast(strftime('%s', json_extract(payload, '$.shown_at')) AS INTEGER) END,
       cast(json_extract(payload, '$.version') AS TEXT),
       cast(json_extract(payload, '$.policy') AS TEXT),
       item.key + 1, cast(item.value AS TEXT),
       CASE WHEN typeof(chance.value) IN ('real', 'integer') THEN chance.value END
FROM interactions
JOIN json_each(payload, '$.items') AS item
LEFT JOIN json_each(payload, '$.propensities') AS chance ON chance.key = item.key
WHERE kind = 'impression' AND typeof(item.key) = 'integer'
ORDER BY seq, item.key
"""


def action_table(interaction_log: InteractionLog) -> pa.Table:
    """Actions of users: columns ``user_id``, ``item_id`` and ``at_s`` (UTC seconds)."""
    return _table(interaction_log, "event", _ACTIONS, ACTIONS)


def impression_table(interaction_log: InteractionLog) -> pa.Table:
    """Impressions, one row per shown item, in the order of the log and of each list.

    Columns: ``answer`` (position of the list in the log), ``user_id``, ``at_s`` (UTC seconds),
    ``version`` and ``policy`` of the model, ``position`` (1 is the first), ``item_id`` and
    ``propensity`` (null if none was logged).
    """
    return _table(interaction_log, "impression", _SHOWN, SHOWN)


def _table(
    interaction_log: InteractionLog, kind: Kind, sql_query: str, arrow_schema: pa.Schema
) -> pa.Table:
    table_parts = [arrow_schema.empty_table()]
    for sql_rows in _query_results(interaction_log, kind, sql_query):
        row_columns = zip(*sql_rows, strict=True) if sql_rows else ([] for _ in arrow_schema)
        table_parts.append(pa.table([list(values) for values in row_columns], schema=arrow_schema))
    return pa.concat_tables(table_parts).combine_chunks()


def _query_results(
    interaction_log: InteractionLog, kind: Kind, sql_query: str
) -> Iterator[list[tuple[object, ...]]]:
    """Rows of a query by SQLite, in the order of the log."""
    if interaction_log.is_sqlite:
        yield interaction_log.fetch(sql_query)
        return
    last_position = 0
    while records := interaction_log.fetch(_RECORDS, (last_position, kind, _READ_RECORDS)):
        with closing(sqlite3.connect(":memory:")) as scratch_database:
            scratch_database.execute(
                "CREATE TABLE interactions (seq INTEGER, kind TEXT, payload TEXT)"
            )
            scratch_database.executemany("INSERT INTO interactions VALUES (?, ?, ?)", records)
            yield scratch_database.execute(sql_query).fetchall()
        last_position = records[-1][0]
