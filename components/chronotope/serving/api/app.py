"""FastAPI application of the service: its endpoints and the components they share."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import Body, FastAPI, Query, Response
from pydantic import BaseModel, TypeAdapter

from chronotope.audit import AuditTrail
from chronotope.experiments.experiment import store_experiment
from chronotope.inference.new_items import NewItemReader
from chronotope.lake import InteractionLog, Lake
from chronotope.lake.event_labels import AnomalousEvents, EventLabelLog
from chronotope.lake.posted import PostedItemContext
from chronotope.lake.posted_items import PostedItems
from chronotope.lake.privacy import StoredUsers
from chronotope.registry.champion import (
    Champion,
    alias_version,
    journal_champion_version,
    load_champion,
    load_version,
)
from chronotope.runtime.workspace import Workspace
from chronotope.serving.anomalies.anomaly_endpoints import ScoredReceipt, add_anomaly_endpoints
from chronotope.serving.anomalies.label_endpoint import add_label_endpoint
from chronotope.serving.anomalies.live_detector import LiveDetector
from chronotope.serving.api.consent_endpoint import add_consent_endpoint
from chronotope.serving.api.demo_page import add_demo_page
from chronotope.serving.api.docs_page import add_docs_page
from chronotope.serving.api.event_intake import EventIntake
from chronotope.serving.api.explain_endpoint import explain
from chronotope.serving.api.item_context_endpoint import (
    ItemContextEndpoint,
    add_item_context_endpoint,
)
from chronotope.serving.api.item_endpoint import ItemEndpoint, add_item_endpoints
from chronotope.serving.api.new_item_endpoint import NewItemEndpoint, add_new_item_endpoints
from chronotope.serving.api.predict_endpoint import predict
from chronotope.serving.api.problems import PROBLEM_RESPONSES, handle_problems
from chronotope.serving.api.recommend_endpoint import RecommendEndpoint
from chronotope.serving.api.requests import (
    IdText,
    PostedRecords,
    PredictRequest,
    RecommendRequest,
    Timestamp,
    UserRequest,
)
from chronotope.serving.api.responses import (
    ExplainResponse,
    IngestReceipt,
    PredictResponse,
    RecommendResponse,
)
from chronotope.serving.api.state_endpoints import add_state_endpoints
from chronotope.serving.api.stored_endpoint import StoredEndpoint
from chronotope.serving.executor import BoundedExecutor
from chronotope.serving.middleware.auth_and_limits import AuthAndLimits
from chronotope.serving.middleware.fast_path import FastHandler, FastPath
from chronotope.serving.model.arms import ExperimentArms
from chronotope.serving.model.inference import InferenceService
from chronotope.serving.model.stored_predictions import StoredPredictions, source_text
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.fraud_labels import FraudLabels
from chronotope.serving.state.impressions import ImpressionWriter
from chronotope.serving.state.redis_cache import RedisCache
from chronotope.serving.state.served_users import ServedUsers
from chronotope.serving.telemetry import Telemetry


class Service:
    """Components that the endpoints share, created once per process."""

    def __init__(
        self,
        settings: ServeSettings,
        load: Callable[[Path, str], Champion],
        champion_version: Callable[[Path, str], str | None],
        load_arm: Callable[[Path, str, str], Champion],
    ) -> None:
        """Open the interaction log; the champion is loaded at the first poll.

        Args:
            settings: Settings of the service.
            load: Loader of the champion.
            champion_version: Version of the current champion, None without one.
            load_arm: Loader of any version, for the arms of an experiment.
        """
        workspace, dataset = Workspace(settings.root), settings.dataset
        if settings.experiment:
            store_experiment(workspace.experiments(settings.dataset), settings.experiment)
        self.settings, self.telemetry = settings, Telemetry()
        self.interaction_log = InteractionLog(workspace.interactions(settings.dataset))
        lake = Lake(workspace.lake(settings.dataset))
        self.served_users = ServedUsers(lake, settings.dataset, self._drop_users)
        self.stored_predictions = StoredPredictions(lake)
        self.posted_items = PostedItems(workspace.posted_items(settings.dataset))
        self.posted_item_context = PostedItemContext(workspace.posted_item_context(dataset))
        self.label_log = EventLabelLog(workspace.event_labels(settings.dataset))
        self.fraud_labels = FraudLabels(self.label_log, self._exclude_events)
        self.live_detector = LiveDetector(settings, self.interaction_log)
        self.new_items = _new_item_reader(settings, self.posted_items)
        self.watcher = ChampionWatcher(
            settings,
            self.telemetry,
            load=load,
            champion_version=champion_version,
            before_poll=self._update_live_state,
            after_poll=lambda loaded_champion: self.arms.refresh(loaded_champion),
            after_attempt=self._after_attempt,
            new_items=self.new_items,
            excluded_ids=self.fraud_labels.event_ids,
            posted_context=self.posted_item_context,
        )
        self.arms = self._experiment_arms(load_arm)
        self.inference_service = InferenceService(
            settings, self.interaction_log, self.watcher, self.telemetry
        )
        self.impression_writer = ImpressionWriter(
            self.interaction_log,
            self.telemetry.impressions_lost.inc,
            resolution_min=lambda: self.served_users.users.settings.time_resolution_min,
        )
        self.redis_cache = _redis_cache(settings, self.interaction_log, self.telemetry)
        self.recommend_endpoint, self.event_intake = self._recommend_endpoint(), self._intake()
        self.stored_endpoint = StoredEndpoint(settings.dataset, self.stored_predictions)
        self.executor = BoundedExecutor(settings.threads, settings.time_limit_s)

    def _recommend_endpoint(self) -> RecommendEndpoint:
        return RecommendEndpoint(
            self.settings,
            self.inference_service,
            self.arms,
            self.telemetry,
            self.impression_writer if self.settings.log_impressions else None,
            self.redis_cache,
            self.served_users.stored_time,
        )

    def _intake(self) -> EventIntake:
        return EventIntake(
            self.settings,
            self.interaction_log,
            self.inference_service.live_state,
            self.live_detector,
            self.watcher,
            self.served_users,
            self.telemetry,
        )

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Background threads of the service, from startup to shutdown of the application."""
        await self.executor.run_unbounded(self.watcher.try_poll)
        self.watcher.start()
        self.impression_writer.start()
        self.recommend_endpoint.shadow_worker.start()
        gc.freeze()  # a collection over all loaded events takes half a second
        yield
        gc.unfreeze()
        self.watcher.stop()
        self.executor.stop()
        self.recommend_endpoint.shadow_worker.stop()
        self.impression_writer.stop()
        self.interaction_log.close()
        self.posted_items.close()
        self.posted_item_context.close()
        self.label_log.close()
        self.live_detector.close()
        if self.redis_cache is not None:
            self.redis_cache.close()

    def _experiment_arms(self, load: Callable[[Path, str, str], Champion]) -> ExperimentArms:
        posted_logs = (self.new_items, self.posted_item_context)
        return ExperimentArms(
            self.settings, self.telemetry, *posted_logs, load=load, version_of=alias_version
        )

    @property
    def uses_stored_predictions(self) -> bool:
        """Whether no model could be loaded, and a batch scoring has stored predictions."""
        has_model = self.watcher.loaded_or_none is not None
        return not has_model and self.stored_predictions.scored_at is not None

    @property
    def source(self) -> str | None:
        """Source of the answers: the model, or stored predictions; None without either."""
        if self.watcher.loaded_or_none is not None:
            return "model"
        scored_at = self.stored_predictions.scored_at
        return None if scored_at is None else source_text(scored_at)

    def _after_attempt(self) -> None:
        self.live_detector.refresh()
        if self.watcher.loaded_or_none is None:  # else they are not read, and need not be opened
            self.stored_predictions.refresh()

    def _drop_users(self, users: StoredUsers) -> None:
        """Forget users who were erased or have opted out, in memory and in all caches."""
        self.inference_service.live_state.drop_users(users.is_excluded)
        self.recommend_endpoint.forget_responses()

    def _exclude_events(self, anomalous_events: AnomalousEvents) -> None:
        """Leave events that a label calls anomalous out of all histories."""
        self.inference_service.live_state.exclude_events(anomalous_events.keys)
        self.recommend_endpoint.forget_responses()

    def _update_live_state(self) -> None:
        self.served_users.refresh()
        self.fraud_labels.refresh()
        live_state = self.inference_service.live_state
        live_state.catch_up()
        if self.watcher.loaded_or_none:  # loaded at an earlier poll
            live_state.drop_ingested(self.watcher.loaded_champion)

    async def recommend(self, recommend_request: RecommendRequest) -> RecommendResponse:
        """Recommendation list; with a server of state, or for a slow request, in a thread."""
        stored_request, is_excluded = self.served_users.as_stored(recommend_request)
        response = await self._recommend(stored_request, is_logged=not is_excluded)
        return response.model_copy(update={"user_id": recommend_request.user_id})

    async def _recommend(
        self, recommend_request: RecommendRequest, *, is_logged: bool
    ) -> RecommendResponse:
        if self.uses_stored_predictions:
            return await self.executor.run(self._recommend_stored, recommend_request)
        is_local = self.redis_cache is None and self.interaction_log.is_sqlite
        in_event_loop = is_local and recommend_request.is_fast
        # the item context of a new day is read from the lake, which would hold up all requests
        in_event_loop &= self.watcher.loaded_champion.item_context is None
        run = self.executor.run_fast if in_event_loop else self.executor.run
        return await run(
            partial(self.recommend_endpoint.recommend, is_logged=is_logged), recommend_request
        )

    def _recommend_stored(self, recommend_request: RecommendRequest) -> RecommendResponse:
        response = self.stored_endpoint.recommend(recommend_request)
        self.recommend_endpoint.log_impression(response, recommend_request)
        return response

    async def predict(self, predict_request: PredictRequest) -> PredictResponse:
        """Next items, time and places, computed in a thread."""
        stored_request, _ = self.served_users.as_stored(predict_request)
        if self.uses_stored_predictions:
            response = await self.executor.run(self.stored_endpoint.predict, stored_request)
        else:
            response = await self.executor.run(
                predict, self.inference_service, self.settings.dataset, stored_request
            )
        return response.model_copy(update={"user_id": predict_request.user_id})


def create_app(
    settings: ServeSettings,
    *,
    load: Callable[[Path, str], Champion] = load_champion,
    champion_version: Callable[[Path, str], str | None] = journal_champion_version,
    load_arm: Callable[[Path, str, str], Champion] = load_version,
) -> FastAPI:
    """ASGI application that serves the champion of one dataset.

    Args:
        settings: Settings of the service.
        load: Loader of the champion.
        champion_version: Version of the current champion, None without one.
        load_arm: Loader of any version, for the arms of an experiment.

    Raises:
        ConfigError: The experiment's name was used for another design.
        StoreError: The interaction log cannot be used.
    """
    service = Service(settings, load, champion_version, load_arm)
    app = FastAPI(
        title="Chronotope",
        summary="Next-event prediction: what a user does next, when and where.",
        docs_url=None,  # FastAPI's own pages load their scripts from a CDN
        redoc_url=None,
        lifespan=service.lifespan,
        responses=PROBLEM_RESPONSES,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # Telemetry has them
    )
    app.state.service = service
    fast_handlers = {**_add_model_endpoints(app, service), **_add_event_endpoint(app, service)}
    add_state_endpoints(app, service)
    add_item_endpoints(app, ItemEndpoint(settings, service.watcher), service.executor)
    new_item_endpoint = NewItemEndpoint(settings, service.watcher, service.posted_items)
    add_new_item_endpoints(app, new_item_endpoint, service.executor)
    context_endpoint = ItemContextEndpoint(service.watcher, service.posted_item_context)
    add_item_context_endpoint(app, context_endpoint, service.executor)
    audit_trail = AuditTrail(Workspace(settings.root).audit())
    lake = Lake(Workspace(settings.root).lake(settings.dataset))
    add_consent_endpoint(
        app, lake, service.served_users, service.executor, audit_trail, settings.dataset
    )
    add_label_endpoint(
        app,
        service.label_log,
        service.executor,
        audit_trail,
        settings.dataset,
        service.fraud_labels.refresh,
    )
    add_anomaly_endpoints(app, service.live_detector, service.executor)
    add_docs_page(app)
    add_demo_page(app, service.watcher, has_pictures=settings.pictures is not None)
    handle_problems(app)
    route_paths = [str(getattr(route, "path", "")) for route in app.routes]
    app.add_middleware(FastPath, fast_handlers=fast_handlers)
    app.add_middleware(
        AuthAndLimits, settings=settings, telemetry=service.telemetry, route_paths=route_paths
    )
    return app


def _add_model_endpoints(app: FastAPI, service: Service) -> dict[str, FastHandler]:
    dataset = service.settings.dataset

    @app.post("/recommend", response_model=RecommendResponse)
    async def recommend_items(recommend_request: RecommendRequest) -> Response:
        """Ranked items for a user or a history at a request time."""
        return _json_response(await service.recommend(recommend_request))

    @app.post("/predict", response_model=PredictResponse)
    async def predict_next_event(predict_request: PredictRequest) -> Response:
        """Next items, time of the next event with its interval, and next places."""
        return _json_response(await service.predict(predict_request))

    @app.get("/explain", response_model=ExplainResponse)
    async def explain_items(
        user_id: Annotated[IdText, Query(description="User id as in the log.")],
        item_id: Annotated[
            IdText | None, Query(description="Item id; by default the most probable items.")
        ] = None,
        request_time: Annotated[
            Timestamp | None, Query(description="Time of the request; by default now.")
        ] = None,
        k: Annotated[
            int, Query(ge=1, le=100, description="Length of the list, and number of items.")
        ] = 10,
    ) -> Response:
        """Events that made the score of one item or of the most probable items, and its reason."""
        user_request = UserRequest(user_id=user_id, request_time=request_time, k=k)
        stored_request, _ = service.served_users.as_stored(user_request)
        response = await service.executor.run(
            explain, service.inference_service, dataset, stored_request, item_id
        )
        return _json_response(response.model_copy(update={"user_id": user_id}))

    return {
        "/recommend": (TypeAdapter(RecommendRequest), recommend_items),
        "/predict": (TypeAdapter(PredictRequest), predict_next_event),
    }


def _add_event_endpoint(app: FastAPI, service: Service) -> dict[str, FastHandler]:
    @app.post("/events", response_model=IngestReceipt | ScoredReceipt)
    async def post_events(
        records: Annotated[PostedRecords, Body(description="A record or a list of records.")],
    ) -> Response:
        """Store events and impressions; after status 200 each is on disk once."""
        record_list = records if isinstance(records, list) else [records]
        receipt = await service.executor.run(service.event_intake.ingest, record_list)
        return _json_response(receipt)

    return {"/events": (TypeAdapter(PostedRecords), post_events)}


def _new_item_reader(settings: ServeSettings, posted_items: PostedItems) -> NewItemReader:
    workspace = Workspace(settings.root)
    lake = Lake(workspace.lake(settings.dataset))
    return NewItemReader(lake, posted_items, settings.content, workspace.cache())


def _redis_cache(
    settings: ServeSettings, interaction_log: InteractionLog, telemetry: Telemetry
) -> RedisCache | None:
    if settings.store is None:
        return None
    key_prefix = f"chronotope:{settings.dataset}:{interaction_log.identity}:"
    redis_url = settings.store.get_secret_value()
    return RedisCache(redis_url, key_prefix, telemetry.store_failures.inc)


def _json_response(response_model: BaseModel) -> Response:
    return Response(response_model.model_dump_json(), media_type="application/json")
