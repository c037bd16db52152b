"""Schemas of the lake's tables, by name."""

from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.predictions import PREDICTIONS, PREDICTIONS_TABLE
from chronotope.contracts.schemas import (
    CONTEXT,
    EVENTS,
    INSTANT,
    ITEM_CONTEXT,
    ITEMS,
    QUARANTINE,
    USERS,
)

ROW: Final = "row"
"""Column with the position of a quarantined row in its delivery; part of the row's key."""

ROW_KEY: Final = "embedding_id"
MODALITY: Final = "modality"
ENCODER: Final = "encoder"
INPUT_DIGEST: Final = "input_digest"
VECTOR: Final = "vector"
REASON: Final = "reason"

NAME: Final = "name"
CONFIG: Final = "config"
N_TEXTS: Final = "n_texts"
USED_AT: Final = "used_at"
STATE: Final = "state"

ITEM_EMBEDDINGS: Final = pa.schema(
    [
        pa.field(ROW_KEY, pa.string(), nullable=False),
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(MODALITY, pa.string(), nullable=False),
        pa.field(ENCODER, pa.string(), nullable=False),
        pa.field(INPUT_DIGEST, pa.string(), nullable=False),
        pa.field(VECTOR, pa.list_(pa.float32())),
        pa.field(REASON, pa.string()),
    ]
)
"""One row for each item, modality and encoder: a vector, or the reason why there is none.
The encoder's name holds the digest of its weights, so vectors of two encoders never mix."""

CONTENT_ENCODERS: Final = pa.schema(
    [
        pa.field(ENCODER, pa.string(), nullable=False),
        pa.field(NAME, pa.string(), nullable=False),
        pa.field(MODALITY, pa.string(), nullable=False),
        pa.field(CONFIG, pa.string(), nullable=False),
        pa.field(N_TEXTS, pa.int64()),
        pa.field(USED_AT, INSTANT, nullable=False),
        pa.field(STATE, pa.binary()),
    ]
)
"""Encoders in the order of their use; ``state`` is that of an encoder fitted on the catalogue."""

LABEL_KEY: Final = "label_id"
COLUMN: Final = "column"
LABEL: Final = "label"
CONFIDENCE: Final = "confidence"
ORIGIN: Final = "origin"
GIVEN: Final = "given"
PREDICTED: Final = "predicted"
IS_USED: Final = "is_used"
MODEL_DIGEST: Final = "model_digest"
SUMMARY: Final = "summary"
ATTRIBUTES: Final = "attributes"
WRITER: Final = "writer"

ITEM_LABELS: Final = pa.schema(
    [
        pa.field(LABEL_KEY, pa.string(), nullable=False),
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(COLUMN, pa.string(), nullable=False),
        pa.field(LABEL, pa.string()),
        pa.field(CONFIDENCE, pa.float32()),
        pa.field(ORIGIN, pa.string(), nullable=False),
        pa.field(IS_USED, pa.bool_(), nullable=False),
        pa.field(MODEL_DIGEST, pa.string(), nullable=False),
        pa.field(INPUT_DIGEST, pa.string(), nullable=False),
        pa.field(REASON, pa.string()),
    ]
)
"""One row for each item and column that a classifier fills: the label and, if it is predicted,
its confidence, or the reason why there is none. ``origin`` is ``predicted``, or ``given`` if
the label is that of the catalogue; ``is_used`` says whether a predicted one is certain enough."""

ITEM_SUMMARIES: Final = pa.schema(
    [
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(INPUT_DIGEST, pa.string(), nullable=False),
        pa.field(SUMMARY, pa.string()),
        pa.field(ATTRIBUTES, pa.string()),
        pa.field(WRITER, pa.string(), nullable=False),
        pa.field(REASON, pa.string()),
    ]
)
"""One row for each item with a long text: its summary, and attributes as a JSON object. ``writer``
is ``extractive`` or an endpoint's model, with a digest of the settings; ``reason`` says why a reply
of the endpoint was not used."""

ERASED_USERS: Final = "erased_users"
DIGEST: Final = "digest"
DIGEST_KEY: Final = "digest_key"
ERASED_AT: Final = "erased_at"

OPTED_OUT_USERS: Final = "opted_out_users"
PRIVACY: Final = "privacy"
VALUE: Final = "value"
UPDATED_AT: Final = "updated_at"

USER_LIST_ROWS: Final = pa.schema(
    [
        pa.field(DIGEST, pa.string(), nullable=False),
        pa.field(DIGEST_KEY, pa.string(), nullable=False),
        pa.field(ERASED_AT, INSTANT, nullable=False),
    ]
)
"""One row for each user who was erased or has opted out, and the moment. The digest is keyed by
``digest_key``, the same in every row; of a pseudonym it is the pseudonym's own digits."""

PRIVACY_ROWS: Final = pa.schema(
    [
        pa.field(NAME, pa.string(), nullable=False),
        pa.field(VALUE, pa.string(), nullable=False),
        pa.field(UPDATED_AT, INSTANT, nullable=False),
    ]
)
"""The privacy settings of the dataset as JSON, and the fingerprints of the keys of pseudonyms."""

ITEM_CONTEXT_TABLE: Final = "item_context"

TABLE_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "items": (c.ITEM_ID,),
    "users": (c.USER_ID,),
    "context": (c.EVENT_ID,),
    "item_embeddings": (ROW_KEY,),
    "content_encoders": (ENCODER,),
    ITEM_CONTEXT_TABLE: (c.ITEM_ID, c.PLACE_ID, c.VALID_FROM),
    "item_labels": (LABEL_KEY,),
    "item_summaries": (c.ITEM_ID,),
    ERASED_USERS: (DIGEST,),
    OPTED_OUT_USERS: (DIGEST,),
    PRIVACY: (NAME,),
}
"""Key columns of the tables whose rows ``Lake.upsert_keyed`` replaces."""

TABLE_SCHEMAS: Final = {
    "events": EVENTS,
    "items": ITEMS,
    "users": USERS,
    "context": CONTEXT,
    ITEM_CONTEXT_TABLE: ITEM_CONTEXT,
    "quarantine": pa.schema([*QUARANTINE, pa.field(ROW, pa.int64(), nullable=False)]),
    "item_embeddings": ITEM_EMBEDDINGS,
    "content_encoders": CONTENT_ENCODERS,
    "item_labels": ITEM_LABELS,
    "item_summaries": ITEM_SUMMARIES,
    PREDICTIONS_TABLE: PREDICTIONS,
    ERASED_USERS: USER_LIST_ROWS,
    OPTED_OUT_USERS: USER_LIST_ROWS,
    PRIVACY: PRIVACY_ROWS,
}
