"""Refused rows as JSON, and back again for a replay."""

import json
import math
from typing import Any

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.strict_json import JsonObject
from chronotope.lake import Lake


def to_payloads(raw_rows: pa.Table) -> pa.Array:
    """Each row as one JSON object; numbers that JSON lacks become texts."""
    return pa.array(
        [json.dumps(_plain(raw_row), default=str) for raw_row in raw_rows.to_pylist()], pa.string()
    )


def replay_quarantine(lake: Lake, run_id: str | None = None) -> pa.Table:
    """Rows as they were read, to be normalised and ingested again.

    After the replay has been ingested under a new run, ``lake.release_quarantine``
    drops the old ones.

    Args:
        lake: Where the rows are quarantined.
        run_id: Only the rows of this run; None takes all.
    """
    quarantine_rows = lake.read("quarantine", columns=[c.RUN_ID, c.PAYLOAD])
    row_payloads = [
        json.loads(quarantine_row[c.PAYLOAD])
        for quarantine_row in quarantine_rows.to_pylist()
        if run_id is None or quarantine_row[c.RUN_ID] == run_id
    ]
    column_names = list(
        dict.fromkeys(
            column_name for quarantine_row in row_payloads for column_name in quarantine_row
        )
    )
    return pa.table(
        {
            column_name: _column(
                [quarantine_row.get(column_name) for quarantine_row in row_payloads]
            )
            for column_name in column_names
        }
    )


def _plain(raw_row: dict[str, Any]) -> JsonObject:
    return {
        column_name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for column_name, value in raw_row.items()
    }


def _column(column_values: list[Any]) -> pa.Array:
    try:
        return pa.array(column_values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a number beyond 64 bits
        return pa.array(
            [None if value is None else str(value) for value in column_values], pa.string()
        )
