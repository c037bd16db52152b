"""Scoring of blocks of users by the service's code, many users in one run of the graph.

Rows of a batch share the padded length that the service would use for each of them. A batch adds
its products in another order than a run for one user, so scores differ in the last bits; a list
in which two neighbours are that close is ranked again by a run of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

import numpy as np

from chronotope.artifact.history_padding import padded_length
from chronotope.artifact.indexed_recommender import IndexedRecommender, QueryOutput
from chronotope.contracts.event_log import Float32, Float64, Int64
from chronotope.contracts.queries import Queries
from chronotope.inference.explanations import explain_items
from chronotope.inference.forecast import NOMINAL, forecast_places, forecast_times
from chronotope.inference.history import UserHistory
from chronotope.inference.query_batch import stack_queries
from chronotope.inference.ranking import (
    Ranking,
    TopRanked,
    rank_by_index,
    score_items,
)
from chronotope.inference.recommend import N_PLACES
from chronotope.inference.request import PlaceForecast, RecommendOptions
from chronotope.serving.api.requests import UserRequest
from chronotope.serving.model.inference import PreparedRequest, model_queries
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.model.tail_exposure import TailExposure
from chronotope.serving.state.live_state import UserState

TIE_GAP: Final = 1e-5
"""Log-probabilities closer than this are a tie that a run for one user decides. Batches and
single runs differ by about a tenth of it."""

_OUTPUT_BYTES: Final = 256 << 20
"""Memory of one run of the graph: eight numbers for each item of the catalogue and user."""


@dataclass(frozen=True, slots=True)
class UserPrediction:
    """Prediction for one user.

    Attributes:
        items: Indices of the items, most probable first, shape (n,).
        probabilities: Of each item; None with an item index.
        reasons: Of each item.
        is_new: Whether the user has not had the item yet, shape (n,).
        hours: Low, median and high hours to the next event, shape (3,); NaN without a forecast.
        places: Most probable places first.
        n_history: Events before the moment of scoring.
        n_unknown_items: Events whose item the model does not know.
    """

    items: Int64
    probabilities: Sequence[float | None]
    reasons: Sequence[str]
    is_new: Sequence[bool]
    hours: Float64
    places: tuple[PlaceForecast, ...]
    n_history: int
    n_unknown_items: int


@dataclass(frozen=True, slots=True)
class _UserOutput:
    """Ranked items of one user, and the place scores of the graph, shape (n_places,)."""

    ranking: Ranking
    top: TopRanked
    place_scores: Float32


@dataclass(frozen=True, slots=True)
class BatchScorer:
    """Predictions for users at one moment.

    Attributes:
        loaded_champion: Model over the events of the lake.
        read_state: State of a user by id.
        options: Length of the lists, and whether items the user has had are excluded.
        scored_at: Moment of scoring, whole seconds, with a time zone.
        batch_size: Maximum users of one run of the graph.
        levels: Of low end, median and high end of the time, shape (3,).
        tail_exposure: Bonus of items outside the most popular fifth; 0 gives none.
    """

    loaded_champion: LoadedChampion
    read_state: Callable[[str], UserState]
    options: RecommendOptions
    scored_at: datetime
    batch_size: int
    levels: Float64 = field(default_factory=lambda: NOMINAL)
    tail_exposure: float = 0.0

    @classmethod
    def within_memory(
        cls,
        loaded_champion: LoadedChampion,
        read_state: Callable[[str], UserState],
        options: RecommendOptions,
        scored_at: datetime,
        batch_size: int,
        levels: Float64 = NOMINAL,
        *,
        tail_exposure: float = 0.0,
    ) -> Self:
        """Scorer whose batches are small enough for the catalogue.

        Args:
            loaded_champion: Model over the events of the lake.
            read_state: State of a user by id.
            options: Length and filter of the lists.
            scored_at: Moment of scoring.
            batch_size: Users of one run of the graph, if the memory suffices.
            levels: Of low end, median and high end of the time, shape (3,).
            tail_exposure: Bonus of items outside the most popular fifth; 0 gives none.
        """
        bytes_a_user = 8 * 4 * loaded_champion.champion.vocabulary.items.size
        n_users = max(1, min(batch_size, _OUTPUT_BYTES // bytes_a_user))
        return cls(loaded_champion, read_state, options, scored_at, n_users, levels, tail_exposure)

    def predict(
        self, user_ids: Sequence[str], *, on_batch: Callable[[int], None] = lambda _: None
    ) -> list[UserPrediction]:
        """Predictions for some users, in their order.

        Args:
            user_ids: External ids.
            on_batch: Called with the number of users of each batch after it was scored.
        """
        prepared = [
            PreparedRequest.from_state(
                self.loaded_champion, self.scored_at, self.read_state(user_id)
            )
            for user_id in user_ids
        ]
        no_options = UserRequest()
        query_batch = [
            # a copy is not checked again: an id of the lake may be longer than one of a request
            model_queries(request, no_options.model_copy(update={"user_id": user_id}))
            for request, user_id in zip(prepared, user_ids, strict=True)
        ]
        predictions: list[UserPrediction | None] = [None] * len(prepared)
        for rows in self._batches(query_batch):
            batch = self._predict_batch(
                [prepared[row] for row in rows], [query_batch[r] for r in rows]
            )
            for row, prediction in zip(rows, batch, strict=True):
                predictions[row] = prediction
            on_batch(len(rows))
        return [prediction for prediction in predictions if prediction is not None]

    def _batches(self, queries: Sequence[Queries]) -> Iterator[list[int]]:
        """Rows of each batch; all of a batch have one padded length."""
        history_lengths = self.loaded_champion.champion.model.history_lengths
        lengths = np.array([padded_length(query, history_lengths) for query in queries])
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            for start in range(0, len(rows), self.batch_size):
                yield rows[start : start + self.batch_size].tolist()

    def _predict_batch(
        self, prepared: Sequence[PreparedRequest], queries: Sequence[Queries]
    ) -> Iterator[UserPrediction]:
        histories = [request.known_history for request in prepared]
        outputs, mixtures = self._run_graph(queries, histories)
        gap_hours = forecast_times(mixtures, histories, self.scored_at, self.levels)  # (B, 3)
        for request, output, user_hours in zip(prepared, outputs, gap_hours, strict=True):
            yield self._describe(request, output, user_hours)

    def _run_graph(
        self, queries: Sequence[Queries], histories: Sequence[UserHistory]
    ) -> tuple[list[_UserOutput], Float32]:
        """Ranked items of a batch, and the predicted gaps, shape (B, 3, K)."""
        model = self.loaded_champion.champion.model
        batch = stack_queries(queries, history_len=model.manifest.history_len)
        if isinstance(model, IndexedRecommender):
            query_outputs = list(model.query_outputs(batch))
            ranked = map(self._rank_indexed, query_outputs, queries, histories)
            return list(ranked), np.concatenate([output.when for output in query_outputs])
        output = model.answer(batch)
        ranked_dense = map(
            self._rank_dense, output.item_scores, output.place_scores, queries, histories
        )
        return list(ranked_dense), output.when

    def _rank_dense(
        self, item_scores: Float32, place_scores: Float32, query: Queries, history: UserHistory
    ) -> _UserOutput:
        """Items by the scores of all of them; near ties are decided by a run for this user."""
        item_metadata, k = self.loaded_champion.item_metadata, self.options.k
        item_ranking = score_items(item_scores, history, item_metadata, self.options)
        top_items = item_ranking.best(k + 1)  # the last place of the list may be a tie as well
        if self._needs_own_run(top_items, place_scores):
            single = self.loaded_champion.champion.model.answer(query)
            item_ranking = score_items(single.item_scores[0], history, item_metadata, self.options)
            top_items, place_scores = item_ranking.best(k + 1), single.place_scores[0]
        top_items = TopRanked(top_items.items[:k], top_items.scores[:k])
        listed = self._with_tail(item_ranking, top_items, history)
        return _UserOutput(item_ranking, listed, place_scores)

    def _rank_indexed(
        self, query_output: QueryOutput, query: Queries, history: UserHistory
    ) -> _UserOutput:
        """Items by a search of the index; near ties are decided by a run for this user."""
        model, item_metadata = (
            self.loaded_champion.champion.model,
            self.loaded_champion.item_metadata,
        )
        assert isinstance(model, IndexedRecommender)  # noqa: S101 - for the type checker
        item_ranking = rank_by_index(model, query_output, history, item_metadata, self.options)
        top_items = item_ranking.best(self.options.k)
        if self._needs_own_run(top_items, query_output.place_scores[0]):
            (query_output,) = model.query_outputs(query)
            item_ranking = rank_by_index(model, query_output, history, item_metadata, self.options)
            top_items = item_ranking.best(self.options.k)
        listed = self._with_tail(item_ranking, top_items, history)
        return _UserOutput(item_ranking, listed, query_output.place_scores[0])

    def _with_tail(
        self, item_ranking: Ranking, top_items: TopRanked, history: UserHistory
    ) -> TopRanked:
        """The list with the bonus of rarer items, as the service makes it."""
        if not self.tail_exposure:
            return top_items
        item_counts = self.loaded_champion.recent_activity(self.scored_at).counts
        bonus = TailExposure.of(self.tail_exposure, item_counts, history.item_idx)
        return bonus.best(item_ranking, self.options.k)

    def _needs_own_run(self, top: TopRanked, place_scores: Float32) -> bool:
        """Whether items or places of a list are too close for the precision of a batch."""
        if self.batch_size == 1:
            return False
        if _has_tie(top.scores):
            return True
        n_compared = min(N_PLACES + 1, len(place_scores) - 1)
        if self.loaded_champion.items_are_places or n_compared < 2:
            return False
        top_places = np.sort(np.partition(place_scores[1:], -n_compared)[-n_compared:])
        return _has_tie(top_places[::-1].astype(np.float64))

    def _describe(
        self, request: PreparedRequest, output: _UserOutput, hours: Float64
    ) -> UserPrediction:
        loaded_champion, items = self.loaded_champion, output.top.items
        bundle_vocabulary, item_metadata = (
            loaded_champion.champion.vocabulary,
            loaded_champion.item_metadata,
        )
        activity = loaded_champion.recent_activity(self.scored_at)
        n_places = 0 if loaded_champion.items_are_places else N_PLACES
        user_history = request.known_history
        return UserPrediction(
            items,
            output.ranking.probabilities(items),
            list(explain_items(items, user_history, activity, bundle_vocabulary, item_metadata)),
            (~(user_history.item_idx[:, None] == items).any(axis=0)).tolist(),
            hours,
            forecast_places(output.place_scores, bundle_vocabulary, item_metadata, n_places)
            if n_places
            else (),
            request.n_history,
            request.n_unknown_items,
        )


def _has_tie(scores: Float64) -> bool:
    """Whether two neighbours of descending scores are a tie."""
    return bool((np.diff(scores) > -TIE_GAP).any())
