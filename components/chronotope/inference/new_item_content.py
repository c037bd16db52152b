"""Content of new items, encoded by the encoders of the model that is to know them."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.content.encode_items import ModelEncoder, open_model_encoder
from chronotope.content.encoder import Modality, Vectors
from chronotope.content.item_vectors import FurtherVectors
from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.event_log import Float32
from chronotope.contracts.item_content import ContentAxes, ModalityAxes
from chronotope.datasets.content_spec import ContentSpec
from chronotope.lake import Lake

_LOG = logging.getLogger(__name__)

MAX_ENCODED: Final = 256
"""Items that are encoded at once; with more of them the first are served meanwhile."""

RETRY_S: Final = 20.0
"""Seconds after which content that could not be read is tried again."""

ItemRow = Mapping[str, Any]
"""Values of an item by column."""


@dataclass(frozen=True, slots=True)
class EncodedItems:
    """Content of new items in the axes of a model.

    Attributes:
        item_ids: The items, in the order of the rows.
        content: Rows of the model's content table, shape (n, A).
        vectors: The vectors by modality.
        reasons: Why an item lacks a kind of content, by id.
        n_waiting: Items that are left for the next time.
    """

    item_ids: tuple[str, ...]
    content: Float32
    vectors: tuple[FurtherVectors, ...]
    reasons: dict[str, tuple[str, ...]]
    n_waiting: int


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of the encoding of an item's content."""

    inputs: tuple[object, ...]
    vector: Float32
    reason: str | None
    encoded_s: float

    def is_outdated(self, item_inputs: tuple[object, ...], now_s: float) -> bool:
        """Whether to encode again: the item was changed, or its file may have come since."""
        is_late = self.reason is not None and now_s - self.encoded_s > RETRY_S
        return is_late or self.inputs != item_inputs


class NewItemEncoder:
    """Encoder of new items; what is encoded once is kept in memory."""

    def __init__(self, lake: Lake, content: ContentSpec, data_dir: Path, cache_dir: Path) -> None:
        """Open nothing yet.

        Args:
            lake: Lake of the dataset.
            content: Where the content of the items is.
            data_dir: Folder of the files.
            cache_dir: Folder of all caches.
        """
        self._lake, self._content = lake, content
        self._data_dir, self._cache_dir = data_dir, cache_dir
        self._encoders: dict[str, ModelEncoder | str] = {}
        self._results: dict[tuple[str, str], _Result] = {}

    def prepare(self, axes: ContentAxes | None) -> None:
        """Open the encoders, and load what they load at their first input.

        Args:
            axes: Axes and encoders of the model; None if it reads no content.
        """
        for modality_axes in () if axes is None else axes.parts:
            model_encoder = self._encoder(modality_axes)
            if modality_axes.modality == Modality.TEXT.value and isinstance(
                model_encoder, ModelEncoder
            ):
                model_encoder.encoder.encode(["warm-up"])

    def encode(self, axes: ContentAxes | None, rows: Mapping[str, ItemRow]) -> EncodedItems:
        """Encode items; at most ``MAX_ENCODED`` that were not encoded before.

        Args:
            axes: Axes and encoders of the model; None if it reads no content.
            rows: Values of the items by column, by id.
        """
        item_ids = tuple(rows)
        if axes is None:
            no_content = np.zeros((len(rows), 0), np.float32)
            return EncodedItems(item_ids, no_content, (), {}, 0)
        item_ids = self._encodable(axes, rows)
        chosen_rows = {item_id: rows[item_id] for item_id in item_ids}
        reason_texts: dict[str, tuple[str, ...]] = {}
        row_vectors = []
        for modality_axes in axes.parts:
            part_vectors, part_reasons = self._encode_part(modality_axes, chosen_rows)
            row_vectors.append(
                FurtherVectors(
                    Modality(modality_axes.modality), modality_axes.encoder, item_ids, part_vectors
                )
            )
            for item_id, missing_reason in part_reasons.items():
                reason_texts[item_id] = (
                    *reason_texts.get(item_id, ()),
                    f"{modality_axes.modality}: {missing_reason}",
                )
        content = axes.project(
            {modality_axes.modality.value: modality_axes.vectors for modality_axes in row_vectors},
            axes.encoders,
        )
        return EncodedItems(
            item_ids, content, tuple(row_vectors), reason_texts, len(rows) - len(item_ids)
        )

    def _encodable(self, axes: ContentAxes, rows: Mapping[str, ItemRow]) -> tuple[str, ...]:
        """Items that were encoded before, and the first of the others."""
        usable_parts = [
            modality_axes
            for modality_axes in axes.parts
            if isinstance(self._encoder(modality_axes), ModelEncoder)
        ]
        waiting_ids = [
            item_id
            for item_id in rows
            if any(
                (modality_axes.encoder, item_id) not in self._results
                for modality_axes in usable_parts
            )
        ]
        return tuple(sorted(rows.keys() - set(waiting_ids[MAX_ENCODED:])))

    def _encode_part(
        self, modality_axes: ModalityAxes, rows: Mapping[str, ItemRow]
    ) -> tuple[Vectors, dict[str, str]]:
        """Vectors of one modality, and why an item has none."""
        row_vectors = np.zeros((len(rows), len(modality_axes.mean)), np.float32)
        model_encoder = self._encoder(modality_axes)
        if isinstance(model_encoder, str):
            return row_vectors, dict.fromkeys(rows, model_encoder)
        self._encode_missing(modality_axes.encoder, model_encoder, rows)
        encoding_results = {
            item_id: self._results[modality_axes.encoder, item_id] for item_id in rows
        }
        for item_position, encoding_result in enumerate(encoding_results.values()):
            if encoding_result.reason is None:
                row_vectors[item_position] = encoding_result.vector
        reason_texts = {
            item_id: encoding_result.reason for item_id, encoding_result in encoding_results.items()
        }
        return row_vectors, {
            item_id: missing_reason
            for item_id, missing_reason in reason_texts.items()
            if missing_reason
        }

    def _encode_missing(
        self, identity: str, model_encoder: ModelEncoder, rows: Mapping[str, ItemRow]
    ) -> None:
        """Encode new and changed content; what could not be read is tried again after a while."""
        now_s = time.monotonic()
        item_inputs = {
            item_id: tuple(
                item_position.get(column_name) for column_name in model_encoder.reader.columns
            )
            for item_id, item_position in rows.items()
        }
        missing_ids = [
            item_id
            for item_id, column_values in item_inputs.items()
            if (identity, item_id) not in self._results
            or self._results[identity, item_id].is_outdated(column_values, now_s)
        ]
        if missing_ids:
            row_vectors, reason_texts = model_encoder.encode(
                [rows[item_id] for item_id in missing_ids]
            )
            for item_id, vector, missing_reason in zip(
                missing_ids, row_vectors, reason_texts, strict=True
            ):
                encoding_result = _Result(item_inputs[item_id], vector, missing_reason, now_s)
                self._results[identity, item_id] = encoding_result

    def _encoder(self, modality_axes: ModalityAxes) -> ModelEncoder | str:
        """The model's encoder, or why there is none here."""
        if modality_axes.encoder not in self._encoders:
            content = self._content.modalities.get(modality_axes.modality)
            if content is None:
                return "the dataset's YAML does not say where it is"
            try:
                self._encoders[modality_axes.encoder] = open_model_encoder(
                    modality_axes.encoder,
                    Modality(modality_axes.modality),
                    content,
                    self._lake,
                    data_dir=self._data_dir,
                    cache_dir=self._cache_dir,
                )
            except ChronotopeError as error:
                _LOG.warning("New items are not encoded: %s", error)
                self._encoders[modality_axes.encoder] = error.problem
        return self._encoders[modality_axes.encoder]
