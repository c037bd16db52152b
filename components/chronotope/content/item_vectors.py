"""Vectors of items, as the lake holds them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.content.content_axes import ItemContent, project_items
from chronotope.content.encoder import Modality, Vectors
from chronotope.content.fitted_encoder import latest_encoder
from chronotope.contracts import columns as c
from chronotope.datasets.spec import DatasetSpec
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


def dataset_content(
    dataset_spec: DatasetSpec, item_lake: Lake, items: pa.Table | None
) -> ItemContent | None:
    """Content of a dataset's items by the encoders in use; None if the YAML configures none.

    Args:
        dataset_spec: The dataset; ``items.content`` names the kinds of content.
        item_lake: Lake of the dataset.
        items: Items, in the order of the result's rows.
    """
    configured_content = dataset_spec.items.content if dataset_spec.items else None
    if configured_content is None or items is None:
        return None
    modalities = [Modality(name) for name in configured_content.modalities]
    return read_item_content(item_lake, modalities, items.column(c.ITEM_ID).to_pylist())


def content_version(item_lake: Lake) -> str:
    """Versions of the tables that content is read from, for the key of what is made of it.

    Args:
        item_lake: Lake of the dataset, with vectors of items.
    """
    return "+".join(
        str(item_lake.table_version(name)) for name in ("item_embeddings", "content_encoders")
    )


def read_item_content(
    item_lake: Lake, modalities: Sequence[Modality], item_ids: Sequence[str]
) -> ItemContent | None:
    """Content of items by the encoders in use, in axes that are fitted on them.

    Args:
        item_lake: Lake of the dataset.
        modalities: Kinds of content; those without vectors are left out.
        item_ids: Items, in the order of the result's rows; an unknown one has no content.

    Returns:
        The content; None if no item has any.
    """
    by_modality = {
        modality.value: read_vectors(item_lake, modality, item_ids) for modality in modalities
    }
    present_vectors = {
        name: item_vectors
        for name, item_vectors in by_modality.items()
        if item_vectors.is_present.any()
    }
    content = project_items(
        {name: item_vectors.vectors for name, item_vectors in present_vectors.items()},
        {name: item_vectors.encoder for name, item_vectors in present_vectors.items()},
    )
    return content if content.axes.parts else None


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
