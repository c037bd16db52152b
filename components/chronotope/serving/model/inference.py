"""From a question to the model's scores: the one way every endpoint goes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.queries import Queries
from chronotope.inference.history import UserHistory, history_to_queries
from chronotope.inference.ranking import Ranking, score_items, search_items
from chronotope.inference.request import RecommendOptions
from chronotope.inference.request_context import validate_context
from chronotope.lake import InteractionLog
from chronotope.serving.api.requests import UserRequest
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.live_events import LiveEvent
from chronotope.serving.state.live_state import LiveState, merge_history
from chronotope.serving.state.lru_cache import LruCache
from chronotope.serving.telemetry import Telemetry

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A question with what is known of who asks.

    Attributes:
        opened: The champion that answers.
        at: The moment, whole seconds.
        user_idx: The champion's index; 0 for a stranger.
        whole: Events before the moment.
        past: Those of them that the champion knows.
        told_until: Position in the log of the user's latest event; a new one makes older
            answers out of date.
    """

    opened: LoadedChampion
    at: datetime
    user_idx: int
    whole: UserHistory
    past: UserHistory
    told_until: int

    @property
    def n_history(self) -> int:
        """Events before the moment."""
        return len(self.whole)

    @property
    def n_unknown(self) -> int:
        """Events that the champion has to skip."""
        return self.n_history - len(self.past)


class InferenceService:
    """Finds who asks and runs the graph."""

    def __init__(
        self,
        settings: ServeSettings,
        log: InteractionLog,
        watcher: ChampionWatcher,
        telemetry: Telemetry,
    ) -> None:
        """Read the live state from the log.

        Args:
            settings: Of the service.
            log: The interaction log.
            watcher: Holds the champion.
            telemetry: Counts.
        """
        self._watcher, self._telemetry = watcher, telemetry
        cache = telemetry.cache("users")
        self.live = LiveState(settings, log, LruCache(settings.cached_users, cache))

    @property
    def champion(self) -> LoadedChampion:
        """Who answers where nothing else is said.

        Raises:
            StoreError: There is no champion yet.
        """
        return self._watcher.opened

    def asked(self, question: UserRequest, opened: LoadedChampion | None = None) -> PreparedRequest:
        """Find out who asks, and when.

        Args:
            question: What is asked.
            opened: Who answers; the champion if left out.

        Raises:
            StoreError: There is no champion yet.
        """
        opened, at = opened or self.champion, request_time(question)
        if question.user_id is not None:
            state = self.live.of(question.user_id, opened)
            user_idx, whole, told_until = state.user_idx, state.past, state.told_until
        else:
            user_idx, whole, told_until = 0, merge_history(_told(question), opened), 0
        before = whole.before(int(at.timestamp()))
        return PreparedRequest(opened, at, user_idx, before, before.known(), told_until)

    def answer(self, asked: PreparedRequest, question: UserRequest) -> ModelOutput:
        """Scores of all items, when and where; of a large catalogue this takes its time.

        Raises:
            ConfigError: The champion does not listen to a column that was told.
        """
        queries = self._queries(asked, question)
        return self._timed(lambda: asked.opened.champion.model.answer(queries))

    def ranking(
        self, asked: PreparedRequest, question: UserRequest, wish: RecommendOptions
    ) -> Ranking:
        """The best items: out of all scores, or of a large catalogue by its index.

        Raises:
            ConfigError: The champion does not listen to a column that was told, or no item is
                of the wished kind.
        """
        model, past, facts = asked.opened.champion.model, asked.past, asked.opened.facts
        if isinstance(model, IndexedRecommender):
            queries = self._queries(asked, question)
            return self._timed(lambda: search_items(model, queries, past, facts, wish))
        return score_items(self.answer(asked, question).item_scores[0], past, facts, wish)

    def _queries(self, asked: PreparedRequest, question: UserRequest) -> Queries:
        """What the graph is asked, counted."""
        self._telemetry.unknown_items.inc(asked.n_unknown)
        if not asked.n_history:
            self._telemetry.strangers.inc()
        validate_context(question.context, asked.opened.champion.model.manifest.context)
        context = asked.opened.context(asked.whole, asked.at) | question.context
        place_idx = asked.opened.place_of.get(question.place_id or "", 0)
        return history_to_queries(
            asked.past,
            asked.user_idx,
            asked.at,
            place_idx=place_idx,
            offset_min=question.utc_offset_min,
            context=context,
        )

    def _timed(self, work: Callable[[], R]) -> R:
        started = time.perf_counter()
        said = work()
        self._telemetry.model_seconds.observe(time.perf_counter() - started)
        return said


def request_time(question: UserRequest) -> datetime:
    """The moment asked about; for now, the next whole second: what was just posted counts."""
    if question.at is not None:
        return question.at.replace(microsecond=0)
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)


def _told(question: UserRequest) -> list[LiveEvent]:
    return [
        LiveEvent(
            round(event.occurred_at.timestamp() * 1_000_000),
            event.item_id,
            "",
            event.place_id,
            event.utc_offset_min,
        )
        for event in question.history or ()
    ]
