"""Inference of one request: user state, model inputs, model run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

import numpy as np

from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.event_log import Int32
from chronotope.contracts.queries import Queries
from chronotope.inference.history import UserHistory, history_to_queries
from chronotope.inference.new_users import with_liked_items
from chronotope.inference.ranking import Ranking, score_items, search_items
from chronotope.inference.request import RecommendOptions
from chronotope.inference.request_context import validate_context
from chronotope.inference.wish import WishScorer, require_full_scores
from chronotope.lake import InteractionLog
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.requests import RecommendRequest, UserRequest
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.live_events import LiveEvent, to_microseconds
from chronotope.serving.state.live_state import LiveState, UserState, merge_history
from chronotope.serving.state.lru_cache import LruCache
from chronotope.serving.telemetry import Telemetry
from chronotope.serving.tracing import step_span

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """Request with the state of its user.

    Attributes:
        loaded_champion: Model that responds.
        request_time: Time of the request, whole seconds.
        user_idx: The model's index of the user; 0 for a cold-start user.
        full_history: Events before the request time.
        known_history: Those whose item the model knows.
        log_position: Position in the interaction log of the user's latest event; a new event
            makes older responses stale.
        liked_idx: The model's indices of liked items, 0 if unknown, shape (n,).
    """

    loaded_champion: LoadedChampion
    request_time: datetime
    user_idx: int
    full_history: UserHistory
    known_history: UserHistory
    log_position: int
    liked_idx: Int32 = field(default_factory=lambda: np.empty(0, np.int32))

    @classmethod
    def from_state(
        cls, loaded_champion: LoadedChampion, request_time: datetime, state: UserState
    ) -> Self:
        """Request at a time, with the part of a user's state that lies before it.

        Args:
            loaded_champion: Model that responds.
            request_time: Time of the request, whole seconds.
            state: State of the user, or of a history that was sent.
        """
        full_history = state.history.before(int(request_time.timestamp()))
        return cls(
            loaded_champion,
            request_time,
            state.user_idx,
            full_history,
            full_history.without_unknown(),
            state.log_position,
        )

    @property
    def n_history(self) -> int:
        """Number of events before the request time."""
        return len(self.full_history)

    @property
    def model_history(self) -> UserHistory:
        """Known events, then the liked items: the history that the model reads."""
        return with_liked_items(
            self.known_history,
            self.liked_idx,
            int(self.request_time.timestamp()),
            items_are_places=self.loaded_champion.items_are_places,
        )

    @property
    def n_unknown_items(self) -> int:
        """Number of events whose item the model does not know."""
        return self.n_history - len(self.known_history)


class InferenceService:
    """Model runs over live user states."""

    def __init__(
        self,
        settings: ServeSettings,
        interaction_log: InteractionLog,
        watcher: ChampionWatcher,
        telemetry: Telemetry,
    ) -> None:
        """Read the live state from the interaction log.

        Args:
            settings: Settings of the service.
            interaction_log: Posted events.
            watcher: Holder of the loaded champion.
            telemetry: Metrics.
        """
        self._watcher, self._telemetry = watcher, telemetry
        self.workspace = Workspace(settings.root)
        self._wish_scorer = WishScorer(self.workspace, settings.dataset)
        state_cache: LruCache[tuple[Any, ...], UserState] = LruCache(
            settings.cached_users, telemetry.cache_counter("user_states")
        )
        self.live_state = LiveState(settings, interaction_log, state_cache)

    @property
    def champion(self) -> LoadedChampion:
        """The loaded champion.

        Raises:
            StoreError: There is no champion yet.
        """
        return self._watcher.loaded_champion

    def prepare(
        self, user_request: UserRequest, loaded_model: LoadedChampion | None = None
    ) -> PreparedRequest:
        """Look up the user's history and index.

        Args:
            user_request: The request.
            loaded_model: Model that responds; the champion by default.

        Raises:
            StoreError: There is no champion yet.
        """
        with step_span("read history"):
            return self._prepare(user_request, loaded_model or self.champion)

    def _prepare(self, user_request: UserRequest, loaded_model: LoadedChampion) -> PreparedRequest:
        request_time = resolve_request_time(user_request)
        if user_request.user_id is not None:
            state = self.live_state.user_state(user_request.user_id, loaded_model)
        else:
            user_history = merge_history(_request_events(user_request), loaded_model)
            state = UserState(user_idx=0, history=user_history, log_position=0)
        prepared = PreparedRequest.from_state(loaded_model, request_time, state)
        if not isinstance(user_request, RecommendRequest):
            return prepared
        liked_idx = [loaded_model.item_idx_of.get(item, 0) for item in user_request.liked_items]
        return replace(prepared, liked_idx=np.array(liked_idx, np.int32))

    def run_model(self, prepared: PreparedRequest, user_request: UserRequest) -> ModelOutput:
        """Scores of all items, time distribution and place scores.

        Raises:
            ConfigError: The model does not use a context column of the request.
        """
        query_batch = self._model_queries(prepared, user_request)
        return self._timed(lambda: prepared.loaded_champion.champion.model.answer(query_batch))

    def rank_items(
        self, prepared: PreparedRequest, user_request: UserRequest, options: RecommendOptions
    ) -> Ranking:
        """Ranking from the scores of all items, or from the index of a large catalogue.

        Raises:
            ConfigError: The model does not use a context column of the request, or no item has
                the requested category.
        """
        model = prepared.loaded_champion.champion.model
        user_history, item_metadata = prepared.known_history, prepared.loaded_champion.item_metadata
        if isinstance(model, IndexedRecommender):
            require_full_scores(options)
            query_batch, liked_idx = self._model_queries(prepared, user_request), prepared.liked_idx
            return self._timed(
                lambda: search_items(
                    model, query_batch, user_history, item_metadata, options, liked_idx
                )
            )
        item_scores = self.run_model(prepared, user_request).item_scores[0]  # (n_items,)
        if options.wish is not None:
            item_scores = item_scores + self._wish_scorer.scores(
                options.wish, item_metadata.likeness
            )
        with step_span("rank items"):
            return score_items(
                item_scores, user_history, item_metadata, options, prepared.liked_idx
            )

    def _model_queries(self, prepared: PreparedRequest, user_request: UserRequest) -> Queries:
        """Model inputs of a request, counted in the metrics."""
        self._telemetry.unknown_items.inc(prepared.n_unknown_items)
        if not prepared.n_history:
            self._telemetry.cold_start_requests.inc()
        return model_queries(prepared, user_request)

    def _timed(self, run: Callable[[], ResultT]) -> ResultT:
        start_s = time.perf_counter()
        with step_span("run model"):
            result = run()
        self._telemetry.model_seconds.observe(time.perf_counter() - start_s)
        return result


def model_queries(prepared: PreparedRequest, user_request: UserRequest) -> Queries:
    """Model inputs of one request, a batch of size 1.

    Raises:
        ConfigError: The model does not use a context column of the request.
    """
    loaded_champion, request_time = prepared.loaded_champion, prepared.request_time
    validate_context(user_request.context, loaded_champion.champion.model.manifest.context)
    context = loaded_champion.context_features(prepared.full_history, request_time)
    levels = loaded_champion.user_levels.context(user_request.user_id, user_request.attributes)
    query_batch = history_to_queries(
        prepared.model_history,
        prepared.user_idx,
        request_time,
        place_idx=loaded_champion.place_idx_of.get(user_request.place_id or "", 0),
        offset_min=user_request.utc_offset_min,
        context=context | user_request.context | levels,
    )
    reader = loaded_champion.item_context
    return query_batch if reader is None else reader.add_rows(query_batch)


def resolve_request_time(user_request: UserRequest) -> datetime:
    """Time of a request; by default the next whole second, so that posted events count."""
    if user_request.request_time is not None:
        return user_request.request_time.replace(microsecond=0)
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)


def _request_events(user_request: UserRequest) -> list[LiveEvent]:
    return [
        LiveEvent(
            occurred_us=to_microseconds(event.occurred_at),
            item_id=event.item_id,
            event_type="",
            place_id=event.place_id,
            utc_offset_min=event.utc_offset_min,
        )
        for event in user_request.history or ()
    ]
