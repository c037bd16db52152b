"""Refused rows as JSON, and back again for a replay."""

import json
import math
from typing import Any

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.lake import Lake


def to_payloads(rows: pa.Table) -> pa.Array:
    """Each row as one JSON object; numbers that JSON lacks become texts."""
    return pa.array([json.dumps(_plain(row), default=str) for row in rows.to_pylist()], pa.string())


def replay_quarantine(lake: Lake, run_id: str | None = None) -> pa.Table:
    """Rows as they were read, to be normalised and ingested again.

    After the replay has been ingested under a new run, ``lake.release_quarantine``
    drops the old ones.

    Args:
        lake: Where the rows are quarantined.
        run_id: Only the rows of this run; None takes all.
    """
    rows = lake.read("quarantine", columns=[c.RUN_ID, c.PAYLOAD])
    mine = [
        json.loads(row[c.PAYLOAD])
        for row in rows.to_pylist()
        if run_id is None or row[c.RUN_ID] == run_id
    ]
    names = list(dict.fromkeys(name for row in mine for name in row))
    return pa.table({name: _column([row.get(name) for row in mine]) for name in names})


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a number beyond 64 bits
        return pa.array([None if value is None else str(value) for value in values], pa.string())
