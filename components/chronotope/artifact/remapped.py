"""A bundle that asks and answers in the ids of another catalogue than its own.

The champion was trained on an earlier snapshot, whose items had other indices. To be
judged on today's targets it is asked in its own words; what it has never heard of, it
cannot rank.
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
from chronotope.contracts.queries import Queries

F = TypeVar("F", bound=np.floating)


class RemappedRecommender:
    """A recommender over a catalogue that it was not trained on."""

    def __init__(self, model: BundleRecommender, words: Vocabulary, catalog: Catalog) -> None:
        """Look up every id once.

        Args:
            model: Speaks the ids of its vocabulary.
            words: Its vocabulary.
            catalog: The ids that questions and answers are in.
        """
        self.model = model
        self.users = _translation(catalog.users, words.users)
        self.items = _translation(catalog.items, words.items)
        self.places = _translation(catalog.places, words.places)

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.model.name

    @property
    def history_len(self) -> int | None:
        """Events of the past the graph reads."""
        return self.model.history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """It is trained already; returns itself."""
        return self

    def observe(self, log: EventLog) -> None:
        """Its priors are frozen; the live state is the history in the query."""

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items of the catalogue, -inf for unknown ones, shape (B, n_items)."""
        return _told(self.model.scores(self._asked(queries)), self.items)

    def answer(self, queries: Queries) -> ModelOutput:
        """What, when and where, in the ids of the catalogue."""
        said = self.model.answer(self._asked(queries))
        return ModelOutput(
            _told(said.item_scores, self.items), said.when, _told(said.place_scores, self.places)
        )

    def _asked(self, queries: Queries) -> Queries:
        """The question in the model's own ids."""
        return replace(
            queries,
            user_idx=self.users[queries.user_idx],
            item_idx=self.items[queries.item_idx],
            place_idx=self.places[queries.place_idx],
            request_place_idx=self.places[queries.request_place_idx],
        )


def _told(scores: npt.NDArray[F], own: Int32) -> npt.NDArray[F]:
    """Scores in the order of the catalogue, -inf for what the model does not know."""
    found = scores[:, own]
    found[:, own == 0] = -np.inf
    return found


def _translation(ours: IdMap, theirs: IdMap) -> Int32:
    """Their index of each of ours, 0 for what they do not know, shape (ours.size,)."""
    return np.concatenate([np.zeros(1, np.int32), theirs.index(ours.ids)])
