"""Conversion of interaction payloads to a batch for ingestion.

Payloads are normalised like the rows of the dataset's own source, so an event has the same id
whether it comes from the source or from the service, and is stored once.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import EVENTS
from chronotope.contracts.text_arrays import text_array
from chronotope.datasets.files.line_accounting import HIDDEN_TEXT
from chronotope.datasets.normalise import normalise
from chronotope.datasets.row_filters import filter_column
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import FeedSpec
from chronotope.datasets.text_options import TextOptions
from chronotope.datasets.time_spec import TimeSpec
from chronotope.feedback.json_lines import RefusedLine
from chronotope.ingestion import IngestBatch

UNREADABLE: Final = "unreadable"
"""Column with the text of payloads that are not objects of plain values, for the quarantine."""

NO_OBJECT: Final = "it is not a JSON object of plain values"
"""Quarantine reason of such payloads."""

_CONTEXT: Final = "context"
_ISO_8601: Final = TimeSpec()
_PLAIN: Final = (str, int, float)
_ID_COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.PLACE_ID, c.SESSION_ID)
_PLAIN_TEXTS: Final = TextOptions()


def payloads_to_batch(
    raw_payloads: Sequence[object],
    dataset_spec: DatasetSpec,
    feed_spec: FeedSpec | None = None,
) -> IngestBatch:
    """Convert payloads to events of a dataset; invalid payloads are refused with reasons.

    Args:
        raw_payloads: Objects whose keys are contract columns and ``context``, a nested object;
            anything else is refused.
        dataset_spec: Dataset, with the identity of events, the default event type, the context
            columns and the local time zone.
        feed_spec: SQL feed that the payloads come from, with its time format, words and filters;
            without one, times are ISO 8601, UTC if they have no offset, and nothing is filtered.
    """
    column_names = [column_name for column_name in EVENTS.names if column_name != c.EVENT_ID]
    extra_columns = (*dataset_spec.context_columns, *dataset_spec.attribute_columns)
    filter_columns = map(filter_column, feed_spec.filter_columns if feed_spec else ())
    payload_fields = [_fields(raw_payload) for raw_payload in raw_payloads]
    batch_columns = {
        column_name: _column(payload_fields, column_name)
        for column_name in (*column_names, *extra_columns, *filter_columns)
    }
    if dataset_spec.items_are_places:
        batch_columns[c.PLACE_ID] = pc.coalesce(batch_columns[c.PLACE_ID], batch_columns[c.ITEM_ID])
    hides_texts = dataset_spec.privacy.hides_texts
    raw_texts = [
        None if row_fields else HIDDEN_TEXT if hides_texts else _as_received(raw_payload)
        for row_fields, raw_payload in zip(payload_fields, raw_payloads, strict=True)
    ]
    raw_table = pa.table({**batch_columns, UNREADABLE: text_array(raw_texts)})
    normalised = normalise(
        dataset_spec.model_copy(update={"time": feed_spec.time if feed_spec else _ISO_8601}),
        raw_table,
        keep_rules=feed_spec.keep if feed_spec else {},
        text_options=feed_spec or _PLAIN_TEXTS,
    )
    refused_rows = _with_payload_reasons(normalised.refused, payload_fields, raw_payloads)
    return IngestBatch(
        normalised.raw,
        normalised.rows,
        normalised.row_positions,
        refused_rows,
        normalised.dropped,
        missing_numbers=normalised.missing_numbers,
    )


def _fields(raw_payload: object) -> dict[str, Any]:
    """Columns of a payload with ``context`` flattened; empty if it is not a plain object."""
    if not isinstance(raw_payload, dict):
        return {}
    context_fields = raw_payload.get(_CONTEXT) or {}
    if not isinstance(context_fields, dict):
        return {}
    flat_fields = {
        **context_fields,
        **{
            column_name: field_value
            for column_name, field_value in raw_payload.items()
            if column_name != _CONTEXT
        },
    }
    is_plain = all(
        field_value is None or isinstance(field_value, _PLAIN)
        for field_value in flat_fields.values()
    )
    return flat_fields if is_plain and _id_type_problem(flat_fields) is None else {}


def _id_type_problem(flat_fields: dict[str, Any]) -> str | None:
    """Reason why a JSON value is no id: a number with a fraction, true or false; else None."""
    for column_name in _ID_COLUMNS:
        id_value = flat_fields.get(column_name)
        if isinstance(id_value, bool) or (isinstance(id_value, float) and id_value % 1 != 0):
            return f"{column_name} is neither a text nor an integer"
    return None


def _column(field_rows: list[dict[str, Any]], column_name: str) -> pa.Array:
    """Texts of a field for ``normalise``, which refuses those that cannot be encoded."""
    return text_array([_text(row_fields.get(column_name)) for row_fields in field_rows])


def _text(raw_value: object) -> str | None:
    return None if raw_value is None else str(raw_value)


def _as_received(raw_payload: object) -> str | None:
    if isinstance(raw_payload, RefusedLine):
        return raw_payload.text
    return raw_payload if isinstance(raw_payload, str) else json.dumps(raw_payload, default=str)


def _with_payload_reasons(
    refused_rows: pa.Table, payload_fields: Sequence[dict[str, Any]], raw_payloads: Sequence[object]
) -> pa.Table:
    """Give payloads that are not objects one reason instead of one for each missing column."""
    refused_positions = refused_rows.column("row").to_pylist()
    if all(payload_fields[row_idx] for row_idx in refused_positions):
        return refused_rows
    row_reasons = [
        normaliser_reasons if payload_fields[row_idx] else [_payload_reason(raw_payloads[row_idx])]
        for row_idx, normaliser_reasons in zip(
            refused_positions, refused_rows.column(c.REASONS).to_pylist(), strict=True
        )
    ]
    reason_column = pa.array(row_reasons, pa.list_(pa.string()))
    return refused_rows.set_column(1, refused_rows.schema.field(1), reason_column)


def _payload_reason(raw_payload: object) -> str:
    if isinstance(raw_payload, RefusedLine):
        return raw_payload.reason or NO_OBJECT
    return (_id_type_problem(raw_payload) if isinstance(raw_payload, dict) else None) or NO_OBJECT
