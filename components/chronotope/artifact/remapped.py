"""Recommender over another catalogue than the one it was trained on.

The champion was trained on an earlier snapshot with other indices. To evaluate it on today's
targets, queries are mapped to its ids and its scores back; items it does not know get -inf.
"""

from dataclasses import replace
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from chronotope.artifact.bundle import Vocabulary
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.artifact.open_bundle import BundleRecommender
from chronotope.contracts.event_log import Catalog, EventLog, Int32
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_context import LevelMapping
from chronotope.contracts.queries import Queries

Float = TypeVar("Float", bound=np.floating)


class RemappedRecommender:
    """A bundle's recommender with queries and scores in the indices of another catalogue."""

    def __init__(self, model: BundleRecommender, vocabulary: Vocabulary, catalog: Catalog) -> None:
        """Map every id once.

        Args:
            model: The recommender, in the indices of its vocabulary.
            vocabulary: Ids of the model.
            catalog: Ids of queries and scores.
        """
        self.model = model
        self.user_mapping = _index_mapping(catalog.users, vocabulary.users)
        self.item_mapping = _index_mapping(catalog.items, vocabulary.items)
        self.place_mapping = _index_mapping(catalog.places, vocabulary.places)
        self.context_mapping = LevelMapping.of(catalog.item_context, model.manifest.item_context)

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.model.name

    @property
    def history_len(self) -> int | None:
        """Number of past events the graph reads."""
        return self.model.history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """No operation: a bundle is already trained."""
        return self

    def observe(self, log: EventLog) -> None:
        """No operation: the priors are frozen, the live state is in the query."""

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items of the catalogue, -inf for unknown ones, shape (B, n_items)."""
        return _remap_scores(self.model.scores(self._remap_queries(queries)), self.item_mapping)

    def answer(self, queries: Queries) -> ModelOutput:
        """Outputs of the model, in the indices of the catalogue."""
        output = self.model.answer(self._remap_queries(queries))
        return ModelOutput(
            _remap_scores(output.item_scores, self.item_mapping),
            output.when,
            _remap_scores(output.place_scores, self.place_mapping),
        )

    def _remap_queries(self, queries: Queries) -> Queries:
        """Queries in the model's own indices."""
        context_item_idx, context_levels = queries.context_item_idx, None
        if context_item_idx is not None and queries.context_levels is not None:
            context_item_idx = self.item_mapping[context_item_idx]
            context_levels = self.context_mapping.apply(queries.context_levels)
        return replace(
            queries,
            context_item_idx=None if context_levels is None else context_item_idx,
            context_levels=context_levels,
            user_idx=self.user_mapping[queries.user_idx],
            item_idx=self.item_mapping[queries.item_idx],
            place_idx=self.place_mapping[queries.place_idx],
            request_place_idx=self.place_mapping[queries.request_place_idx],
        )


def _remap_scores(model_scores: npt.NDArray[Float], index_mapping: Int32) -> npt.NDArray[Float]:
    """Scores in the order of the catalogue, -inf for ids unknown to the model."""
    catalog_scores = model_scores[:, index_mapping]
    catalog_scores[:, index_mapping == 0] = -np.inf
    return catalog_scores


def _index_mapping(catalog_ids: IdMap, model_ids: IdMap) -> Int32:
    """Model index of each catalogue index, 0 if unknown, shape (catalog_ids.size,)."""
    return np.concatenate([np.zeros(1, np.int32), model_ids.index(catalog_ids.ids)])
