"""Schemas of the lake's tables, by name."""

from typing import Final

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.predictions import PREDICTIONS, PREDICTIONS_TABLE
from chronotope.contracts.schemas import CONTEXT, EVENTS, INSTANT, ITEMS, QUARANTINE, USERS

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

TABLE_SCHEMAS: Final = {
    "events": EVENTS,
    "items": ITEMS,
    "users": USERS,
    "context": CONTEXT,
    "quarantine": pa.schema([*QUARANTINE, pa.field(ROW, pa.int64(), nullable=False)]),
    "item_embeddings": ITEM_EMBEDDINGS,
    "content_encoders": CONTENT_ENCODERS,
    PREDICTIONS_TABLE: PREDICTIONS,
}
