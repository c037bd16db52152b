"""Responses of ``/recommend``: ranked or randomly drawn items, cached and logged as impressions."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from chronotope.experiments.experiment import Exploration
from chronotope.inference.new_users import liked_notes
from chronotope.inference.ranking import describe_items
from chronotope.inference.recommend import answer_notes
from chronotope.lake import Interaction
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.api.responses import RecommendResponse
from chronotope.serving.model.arms import ArmAssignment, ExperimentArms
from chronotope.serving.model.inference import InferenceService, PreparedRequest
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.model.new_item_exposure import NewItemExposure
from chronotope.serving.model.selection import exploration_settings, select_items
from chronotope.serving.model.shadow import ShadowTask, ShadowWorker
from chronotope.serving.model.tail_exposure import TailExposure
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.impressions import ImpressionWriter
from chronotope.serving.state.response_cache import CacheKey, ResponseCache, SharedCache
from chronotope.serving.telemetry import Telemetry


class RecommendEndpoint:
    """Endpoint of recommendations: arm assignment, cache, ranking, impression log, shadows."""

    def __init__(
        self,
        settings: ServeSettings,
        inference_service: InferenceService,
        arms: ExperimentArms,
        telemetry: Telemetry,
        impression_writer: ImpressionWriter | None,
        shared_cache: SharedCache | None = None,
        stored_time: Callable[[datetime, int], datetime] = lambda moment, _: moment,
    ) -> None:
        """Start with an empty cache.

        Args:
            settings: Settings of the service.
            inference_service: Prepares requests and runs the model.
            arms: Arms of the experiment.
            telemetry: Metrics.
            impression_writer: Log of shown lists; None logs nothing.
            shared_cache: Cache of all workers.
            stored_time: A time, and the offset of the user's clock, as they may be logged.
        """
        self._stored_time = stored_time
        self._settings, self._inference_service = settings, inference_service
        self._arms, self._impression_writer = arms, impression_writer
        self._response_cache = ResponseCache(
            settings.cached_responses,
            telemetry.cache_counter("responses"),
            shared_cache=shared_cache,
            count_shared=telemetry.cache_counter("shared_responses"),
        )
        self.shadow_worker = ShadowWorker(self._run_shadow, telemetry)

    def recommend(
        self, recommend_request: RecommendRequest, *, is_logged: bool = True
    ) -> RecommendResponse:
        """Recommendation list, logged as an impression and repeated by shadow arms.

        Args:
            recommend_request: The request.
            is_logged: Whether anything may be stored of it.
        """
        champion, answer_id = self._inference_service.champion, uuid4().hex
        user_id = recommend_request.user_id
        assignment = self._arms.assign(user_id, champion)
        response = self._cached_response(recommend_request, assignment, answer_id)
        if self._impression_writer is not None and is_logged:
            self._impression_writer.put(
                self._impression(response, recommend_request, fell_back=assignment.fell_back)
            )
            for shadow in self._arms.shadow_assignments(user_id, champion):
                request_time = {"request_time": response.request_time}
                timed_request = recommend_request.model_copy(update=request_time)
                self.shadow_worker.put(ShadowTask(timed_request, shadow, answer_id))
        return response

    def log_impression(
        self, response: RecommendResponse, recommend_request: RecommendRequest
    ) -> None:
        """Log a list that was not computed here, if lists are logged."""
        if self._impression_writer is not None:
            self._impression_writer.put(self._impression(response, recommend_request))

    def _run_shadow(self, task: ShadowTask) -> None:
        """Log the list of a shadow arm, which no user sees."""
        arm_name = "" if task.shadow.arm is None else task.shadow.arm.name
        shadow_id = f"{task.answer_id}-{arm_name}"
        response = self._cached_response(task.recommend_request, task.shadow, shadow_id)
        if self._impression_writer is not None:
            self._impression_writer.put(
                self._impression(response, task.recommend_request, shadow_of=task.answer_id)
            )

    def _cached_response(
        self, recommend_request: RecommendRequest, assignment: ArmAssignment, answer_id: str
    ) -> RecommendResponse:
        """Response from the cache, else computed and stored there."""
        prepared = self._inference_service.prepare(recommend_request, assignment.loaded_model)
        exploration = exploration_settings(recommend_request, assignment.exploration)
        item_exposure = self._exposure(recommend_request, assignment.loaded_model)
        is_drawn = bool(exploration.share) or item_exposure.is_drawn(answer_id)
        cache_key = None if is_drawn else self._cache_key(recommend_request, prepared)
        response = None if cache_key is None else self._response_cache.get(cache_key)
        if response is None:
            response = self._compute_response(
                recommend_request, prepared, exploration, item_exposure, answer_id
            )
            if cache_key is not None:  # without the id: the shared cache is outside of the root
                self._response_cache.put(cache_key, response.model_copy(update={"user_id": None}))
        arm = assignment.arm
        experiment = self._settings.experiment if arm else None
        arm_fields = {"experiment": experiment and experiment.name, "arm": arm and arm.name}
        user_fields = {"answer_id": answer_id, "user_id": recommend_request.user_id}
        return response.model_copy(update=user_fields | arm_fields)

    def forget_responses(self) -> None:
        """Empty the caches of responses, since users were erased or have opted out."""
        self._response_cache.clear()

    def _impression(
        self,
        response: RecommendResponse,
        recommend_request: RecommendRequest,
        *,
        fell_back: bool = False,
        shadow_of: str | None = None,
    ) -> Interaction:
        """Log record of a shown list, with all that off-policy evaluation needs."""
        offset_min = recommend_request.utc_offset_min or 0
        shown_at = self._stored_time(response.request_time, offset_min)
        return _impression(
            response, recommend_request, shown_at, fell_back=fell_back, shadow_of=shadow_of
        )

    def _exposure(
        self, recommend_request: RecommendRequest, loaded_model: LoadedChampion
    ) -> NewItemExposure:
        """Exposure of new items; none where the request excludes exploration."""
        share = self._settings.explore_new if recommend_request.explore else 0.0
        return NewItemExposure(
            share if len(loaded_model.exposed_idx) else 0.0, loaded_model.exposed_idx
        )

    def _cache_key(
        self, recommend_request: RecommendRequest, prepared: PreparedRequest
    ) -> CacheKey | None:
        """Everything that the response depends on; None for a response that is not cached.

        The key holds the versions and the log position of the user's latest event, so a
        champion swap or a new event never leaves a stale entry.
        """
        if recommend_request.user_id is None:
            return None
        request_s = int(prepared.request_time.timestamp())
        given_time = recommend_request.request_time
        bucket_s = self._settings.response_ttl_s if given_time is None else 1
        offset = None if given_time is None else given_time.utcoffset()
        options = recommend_request.model_dump_json(exclude={"request_time", "history"})
        model_key = prepared.loaded_champion.cache_key
        time_bucket = request_s // bucket_s
        return (bucket_s, time_bucket, offset, prepared.log_position, *model_key, options)

    def _compute_response(
        self,
        recommend_request: RecommendRequest,
        prepared: PreparedRequest,
        exploration: Exploration,
        exposure: NewItemExposure,
        answer_id: str,
    ) -> RecommendResponse:
        options, loaded_champion = recommend_request.recommend_options(), prepared.loaded_champion
        ranking = self._inference_service.rank_items(prepared, recommend_request, options)
        champion, item_metadata = loaded_champion.champion, loaded_champion.item_metadata
        request_time, n_history = prepared.request_time, prepared.n_history
        recent_activity = loaded_champion.recent_activity(request_time)
        # the id is the seed, so the draw can be reproduced
        strength = recommend_request.tail_exposure
        tail_exposure = TailExposure.of(
            self._settings.tail_exposure if strength is None else strength,
            recent_activity.counts,
            prepared.model_history.item_idx,
        )
        selected = select_items(
            ranking,
            recommend_request,
            exploration,
            item_metadata,
            recent_activity,
            answer_id,
            exposure,
            tail_exposure,
        )
        items = describe_items(
            selected.items,
            ranking,
            options,
            prepared.model_history,
            recent_activity,
            champion.vocabulary,
            item_metadata,
        )
        notes = answer_notes(
            champion, n_history, request_time, has_items=bool(items), has_time=True
        )
        return RecommendResponse(
            dataset=self._settings.dataset,
            version=champion.version,
            user_id=recommend_request.user_id,
            request_time=request_time,
            n_history=n_history,
            n_unknown_items=prepared.n_unknown_items,
            notes=(
                *notes,
                *liked_notes(recommend_request.liked_items, prepared.liked_idx),
                *selected.notes,
            ),
            answer_id=answer_id,
            policy=selected.policy,
            explored=selected.explored,
            items=items,
            propensities=tuple(selected.propensities.tolist()),
        )


def _impression(
    response: RecommendResponse,
    recommend_request: RecommendRequest,
    shown_at: datetime,
    *,
    fell_back: bool = False,
    shadow_of: str | None = None,
) -> Interaction:
    """Log record of a shown list, with all that off-policy evaluation needs."""
    arm_fields = {
        "experiment": response.experiment,
        "arm": response.arm,
        "shadow_of": shadow_of,
    }
    user_fields = {"user_id", "history", "request_time"}
    probabilities = [item.probability for item in response.items]
    payload: dict[str, Any] = {
        "answer_id": response.answer_id,
        "user_id": response.user_id,
        "shown_at": shown_at.astimezone(UTC).isoformat(),
        "items": [item.id for item in response.items],
        "probabilities": [] if None in probabilities else probabilities,
        "propensities": list(response.propensities),
        "version": response.version,
        "policy": response.policy,
        "explored": response.explored,
        "request": recommend_request.model_dump(
            mode="json", exclude_defaults=True, exclude=user_fields
        ),
        **{field: value for field, value in arm_fields.items() if value is not None},
    }
    if fell_back:
        payload["fell_back"] = True
    return Interaction(key=response.answer_id, kind="impression", payload=payload)
