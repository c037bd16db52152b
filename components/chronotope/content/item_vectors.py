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


@dataclass(frozen=True, slots=True)
class FurtherVectors:
    """Vectors of one modality that the lake does not have.

    Attributes:
        modality: Kind of content.
        encoder: Name of the encoder and digest of its weights.
        item_ids: Items, in the order of the rows.
        vectors: Shape (n, dim); zero where an item has none.
    """

    modality: Modality
    encoder: str
    item_ids: tuple[str, ...]
    vectors: Vectors

    def has_vector(self, item_id: str) -> bool:
        """Whether an item has one.

        Args:
            item_id: The item.
        """
        return item_id in self.item_ids and bool(self.vectors[self.item_ids.index(item_id)].any())


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
    item_lake: Lake,
    modalities: Sequence[Modality],
    item_ids: Sequence[str],
    further: Sequence[FurtherVectors] = (),
) -> ItemContent | None:
    """Content of items by the encoders in use, in axes that are fitted on them.

    Args:
        item_lake: Lake of the dataset.
        modalities: Kinds of content; those without vectors are left out.
        item_ids: Items, in the order of the result's rows; an unknown one has no content.
        further: Vectors of items that the lake does not have; those of other encoders than the
            ones in use are left out.

    Returns:
        The content; None if no item has any.
    """
    by_modality = {
        modality.value: _with_further(
            read_vectors(item_lake, modality, item_ids), modality, item_ids, further
        )
        for modality in modalities
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


def read_vectors(
    item_lake: Lake, modality: Modality, item_ids: Sequence[str], encoder: str | None = None
) -> ItemVectors:
    """Vectors of items by one encoder; those of others are never read.

    Args:
        item_lake: Lake of the dataset.
        modality: Kind of content.
        item_ids: Items, in the order of the result; an unknown one has no vector.
        encoder: Identity of the encoder; by default the one in use.
    """
    encoder_identity = encoder or latest_encoder(item_lake, modality)
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


def _with_further(
    known: ItemVectors,
    modality: Modality,
    item_ids: Sequence[str],
    further: Sequence[FurtherVectors],
) -> ItemVectors:
    """The lake's vectors with those of further items of the same encoder."""
    row_of = {item_id: row for row, item_id in enumerate(item_ids)} if further else {}
    row_vectors, is_present = known.vectors.copy(), known.is_present.copy()
    for part in further:
        is_same = part.modality is modality and part.encoder == known.encoder
        if not is_same or part.vectors.shape[1] != row_vectors.shape[1]:
            continue
        for item_id, vector in zip(part.item_ids, part.vectors, strict=True):
            if item_id in row_of and vector.any():
                row_vectors[row_of[item_id]], is_present[row_of[item_id]] = vector, True
    return ItemVectors(known.encoder, row_vectors, is_present)
