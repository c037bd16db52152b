"""Tables of the interaction log: actions of users, and impressions with their list positions.

SQLite extracts the columns from the JSON payloads, so that no record becomes a Python object. A
field that is missing or has another type is null.
"""

from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.lake.interaction_log import InteractionLog

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
    return _table(interaction_log.fetch(_ACTIONS), ACTIONS)


def impression_table(interaction_log: InteractionLog) -> pa.Table:
    """Impressions, one row per shown item, in the order of the log and of each list.

    Columns: ``answer`` (position of the list in the log), ``user_id``, ``at_s`` (UTC seconds),
    ``version`` and ``policy`` of the model, ``position`` (1 is the first), ``item_id`` and
    ``propensity`` (null if none was logged).
    """
    return _table(interaction_log.fetch(_SHOWN), SHOWN)


def _table(sql_rows: list[tuple[object, ...]], arrow_schema: pa.Schema) -> pa.Table:
    row_columns = zip(*sql_rows, strict=True) if sql_rows else ([] for _ in arrow_schema)
    return pa.table([list(column_values) for column_values in row_columns], schema=arrow_schema)
