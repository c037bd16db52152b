"""Rows of the predictions table as copies hold them: without internal columns, or flat."""

import json
from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.predictions import (
    INTERNAL_COLUMNS,
    PLACES,
    PREDICTIONS,
    PREDICTIONS_TABLE,
)
from chronotope.lake import Lake
from chronotope.lake.store_errors import translate_store_errors

EXPORTED: Final = pa.schema([field for field in PREDICTIONS if field.name not in INTERNAL_COLUMNS])
"""Schema of a Parquet copy."""

FLAT: Final = pa.schema(
    [pa.field(PLACES, pa.string()) if field.name == PLACES else field for field in EXPORTED]
)
"""Schema of CSV and SQL copies, with the places as JSON text."""

_BATCH_ROWS: Final = 50_000


def exported_rows(lake: Lake, user_ids: pa.Array | None) -> Iterator[pa.RecordBatch]:
    """Rows of the present table without internal columns.

    Args:
        lake: The dataset's lake.
        user_ids: Users to export; None exports all.

    Raises:
        StoreError: The table cannot be read.
    """
    if not lake.exists(PREDICTIONS_TABLE):
        return
    with translate_store_errors(PREDICTIONS_TABLE):
        batches = lake.dataset(PREDICTIONS_TABLE).to_batches(
            columns=EXPORTED.names, batch_size=_BATCH_ROWS
        )
        for record_batch in batches:
            batch = record_batch.cast(EXPORTED)
            if user_ids is not None:
                batch = batch.filter(pc.is_in(batch[c.USER_ID], value_set=user_ids))
            if len(batch):
                yield batch


def flatten_places(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its places as JSON text; one text for each user, repeated for its ranks."""
    user_codes = pc.dictionary_encode(batch[c.USER_ID]).indices.to_numpy()
    starts_user = np.ones(len(batch), np.bool_)
    starts_user[1:] = user_codes[1:] != user_codes[:-1]
    first_rows = pa.array(np.flatnonzero(starts_user))
    texts = [json.dumps(places) for places in batch[PLACES].take(first_rows).to_pylist()]
    user_rows = pa.array(np.cumsum(starts_user) - 1)
    columns = [
        pa.array(texts, pa.string()).take(user_rows) if name == PLACES else batch[name]
        for name in FLAT.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=FLAT)
