"""Vectors of items, as the lake holds them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.content.encoder import Modality, Vectors
from chronotope.content.fitted_encoder import latest_encoder
from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t
from chronotope.lake.text_filter import text_equals


@dataclass(frozen=True, slots=True)
class ItemVectors:
    """Vectors of one modality, all of one encoder.

    Attributes:
        encoder: Name of the encoder and digest of its weights; "" if there is none yet.
        vectors: Shape (n_items, dim); zero where there is none.
        is_present: Which items have a vector, shape (n_items,).
    """

    encoder: str
    vectors: Vectors
    is_present: npt.NDArray[np.bool_]


def read_vectors(item_lake: Lake, modality: Modality, item_ids: Sequence[str]) -> ItemVectors:
    """Vectors of items by the encoder in use; those of earlier encoders are never read.

    Args:
        item_lake: Lake of the dataset.
        modality: Kind of content.
        item_ids: Items, in the order of the result; an unknown one has no vector.
    """
    encoder_identity = latest_encoder(item_lake, modality)
    n_items = len(item_ids)
    no_vectors, is_absent = np.zeros((n_items, 0), np.float32), np.zeros(n_items, np.bool_)
    no_item_vectors = ItemVectors(encoder_identity or "", no_vectors, is_absent)
    if encoder_identity is None or not item_lake.exists("item_embeddings"):
        return no_item_vectors
    is_current = (
        text_equals(t.ENCODER, encoder_identity)
        & text_equals(t.MODALITY, modality.value)
        & pc.field(t.VECTOR).is_valid()
    )
    stored_rows = item_lake.dataset("item_embeddings").to_table(
        columns=[c.ITEM_ID, t.VECTOR], filter=is_current
    )
    if not len(stored_rows):
        return no_item_vectors
    stored_vectors = stored_rows.column(t.VECTOR).combine_chunks()
    vector_matrix = stored_vectors.flatten().to_numpy().reshape(len(stored_rows), -1)
    stored_positions = pc.index_in(pa.array(item_ids, pa.string()), stored_rows.column(c.ITEM_ID))
    is_present = np.asarray(stored_positions.is_valid())
    found_vectors = np.zeros((n_items, vector_matrix.shape[1]), np.float32)
    found_vectors[is_present] = vector_matrix[np.asarray(stored_positions.drop_null())]
    return ItemVectors(encoder_identity, found_vectors, is_present)
