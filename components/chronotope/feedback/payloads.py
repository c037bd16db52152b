"""From payloads of interactions to a batch of the lake, by the dataset's own rules.

An event that comes by the dataset's own source and by the log of the service is one event:
``normalise`` makes its id from the same columns either way.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import EVENTS
from chronotope.datasets.normalise import normalise
from chronotope.datasets.spec import DatasetSpec, TimeSpec
from chronotope.feedback.json_lines import RefusedLine
from chronotope.ingestion import IngestBatch

UNREADABLE: Final = "unreadable"
"""Column that keeps, for the quarantine, what is no object of plain values."""

NO_OBJECT: Final = "it is no JSON object of plain values"

_CONTEXT: Final = "context"
_ISO_8601: Final = TimeSpec()
_PLAIN: Final = (str, int, float)


def payloads_to_batch(
    payloads: Sequence[object], spec: DatasetSpec, time: TimeSpec = _ISO_8601
) -> IngestBatch:
    """Read payloads as events of a dataset; what is none is refused with its reasons.

    Args:
        payloads: Objects whose keys are contract columns and ``context``; anything else
            is refused.
        spec: The dataset: identity, default event type, context, whose clock.
        time: How times read; by default ISO 8601, UTC without an offset.
    """
    names = [name for name in EVENTS.names if name != c.EVENT_ID]
    more = (*spec.context_columns, *spec.attribute_columns)
    sound = [_fields(payload) for payload in payloads]
    columns = {name: _column(sound, name) for name in (*names, *more)}
    if spec.items_are_places:
        columns[c.PLACE_ID] = pc.coalesce(columns[c.PLACE_ID], columns[c.ITEM_ID])
    texts = [
        None if fields else _as_received(payload)
        for fields, payload in zip(sound, payloads, strict=True)
    ]
    raw = pa.table({**columns, UNREADABLE: pa.array(texts, pa.string())})
    done = normalise(spec.model_copy(update={"time": time}), raw)
    refused = _renamed(done.refused, sound, payloads)
    return IngestBatch(raw, done.rows, done.row_positions, refused)


def _fields(payload: object) -> dict[str, Any]:
    """The payload with its context beside the other columns; empty if it is no plain object."""
    if not isinstance(payload, dict):
        return {}
    context = payload.get(_CONTEXT) or {}
    if not isinstance(context, dict):
        return {}
    flat = {**context, **{name: of for name, of in payload.items() if name != _CONTEXT}}
    plain = all(of is None or isinstance(of, _PLAIN) for of in flat.values())
    return flat if plain else {}


def _column(rows: list[dict[str, Any]], name: str) -> pa.Array:
    return pa.array([_text(row.get(name)) for row in rows], pa.string())


def _text(value: object) -> str | None:
    """Any plain value as text, which ``normalise`` reads; half a character becomes a mark."""
    return None if value is None else str(value).encode("utf-8", "replace").decode("utf-8")


def _as_received(payload: object) -> str | None:
    if isinstance(payload, RefusedLine):
        return _text(payload.text)
    return _text(payload if isinstance(payload, str) else json.dumps(payload, default=str))


def _renamed(
    refused: pa.Table, sound: Sequence[dict[str, Any]], payloads: Sequence[object]
) -> pa.Table:
    """One reason for what is no object, instead of every column that it lacks."""
    rows = refused.column("row").to_pylist()
    if all(sound[row] for row in rows):
        return refused
    reasons = [
        own if sound[row] else [_why_no_object(payloads[row])]
        for row, own in zip(rows, refused.column(c.REASONS).to_pylist(), strict=True)
    ]
    column = pa.array(reasons, pa.list_(pa.string()))
    return refused.set_column(1, refused.schema.field(1), column)


def _why_no_object(payload: object) -> str:
    reason = payload.reason if isinstance(payload, RefusedLine) else None
    return reason or NO_OBJECT
