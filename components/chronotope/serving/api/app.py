"""The application: which address does what."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Body, FastAPI, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, TypeAdapter

from chronotope.experiments.experiment import store_experiment
from chronotope.lake import Interaction, InteractionLog
from chronotope.registry.champion import (
    Champion,
    alias_version,
    journal_champion_version,
    load_champion,
    load_version,
)
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.demo_page import add_demo_page
from chronotope.serving.api.docs_page import content_policy, directory_page
from chronotope.serving.api.predict_endpoint import explain, predict
from chronotope.serving.api.problems import PROBLEMS, handle_problems
from chronotope.serving.api.recommend_endpoint import RecommendEndpoint
from chronotope.serving.api.requests import (
    Moment,
    Posted,
    PostedRecords,
    PredictRequest,
    RecommendRequest,
    Text,
    UserRequest,
)
from chronotope.serving.api.responses import (
    ExplainResponse,
    HealthResponse,
    IngestReceipt,
    PredictResponse,
    RecommendResponse,
)
from chronotope.serving.executor import BoundedExecutor
from chronotope.serving.middleware.auth_and_limits import AuthAndLimits
from chronotope.serving.middleware.fast_path import FastHandler, FastPath
from chronotope.serving.model.arms import ExperimentArms
from chronotope.serving.model.inference import InferenceService
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.impressions import ImpressionWriter
from chronotope.serving.state.redis_cache import RedisCache
from chronotope.serving.telemetry import Telemetry


class Service:
    """What the endpoints share, opened once."""

    def __init__(
        self,
        settings: ServeSettings,
        load: Callable[[Path, str], Champion],
        reigning: Callable[[Path, str], str | None],
        load_arm: Callable[[Path, str, str], Champion],
    ) -> None:
        """Open the log, and the champion if there is one.

        Args:
            settings: Of the service.
            load: Opens the champion.
            reigning: Version of the champion.
            load_arm: Opens any version.
        """
        if settings.experiment:
            store_experiment(
                Workspace(settings.root).experiments(settings.dataset), settings.experiment
            )
        self.settings, self.telemetry = settings, Telemetry()
        self.log = InteractionLog(Workspace(settings.root).interactions(settings.dataset))
        self.watcher = ChampionWatcher(
            settings,
            self.telemetry,
            load=load,
            reigning=reigning,
            every_poll=self._keep_up,
            after_look=lambda champion: self.arms.look(champion),
        )
        self.arms = ExperimentArms(
            settings, self.telemetry, load=load_arm, version_of=alias_version
        )
        self.asking = InferenceService(settings, self.log, self.watcher, self.telemetry)
        self.shown = ImpressionWriter(self.log, self.telemetry.impressions_lost.inc)
        self.shared = _shared(settings, self.log, self.telemetry)
        self.recommending = RecommendEndpoint(
            settings,
            self.asking,
            self.arms,
            self.telemetry,
            self.shown if settings.log_answers else None,
            self.shared,
        )
        self.computing = BoundedExecutor(settings.threads, settings.time_limit_s)

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Look for champions and log answers while the application runs."""
        await self.computing.in_background(self.watcher.try_to_look)
        self.watcher.start()
        self.shown.start()
        self.recommending.shadowing.start()
        gc.freeze()  # what lies here stays: looking all of it through takes half a second
        yield
        gc.unfreeze()
        self.watcher.stop()
        self.computing.stop()
        self.recommending.shadowing.stop()
        self.shown.stop()
        self.log.close()
        if self.shared is not None:
            self.shared.close()

    def _keep_up(self) -> None:
        self.asking.live.catch_up()
        if self.watcher.opened_or_none:  # since the last look
            self.asking.live.forget(self.watcher.opened)

    async def recommend(self, question: RecommendRequest) -> RecommendResponse:
        """Which items? Redis, and questions that take longer, are left to a thread."""
        short = self.shared is None and question.is_short
        compute = self.computing.at_once if short else self.computing.in_time
        return await compute(self.recommending.recommend, question)

    def keep(self, records: list[Posted]) -> IngestReceipt:
        """Log records; they are on the disk, and count, when this returns."""
        new = self.log.append([_interaction(record) for record in records])
        self.asking.live.catch_up()
        opened = self.watcher.opened_or_none
        told = [record.item_id for record in records if record.kind == "event"]
        n_unknown = sum(item not in opened.item_of for item in told) if opened else 0
        for kind, n in (("event", len(told)), ("impression", len(records) - len(told))):
            self.telemetry.interactions.labels(kind).inc(n)
        self.telemetry.repeated.inc(len(records) - new)
        return IngestReceipt(received=len(records), new=new, n_unknown=n_unknown)


def create_app(
    settings: ServeSettings,
    *,
    load: Callable[[Path, str], Champion] = load_champion,
    reigning: Callable[[Path, str], str | None] = journal_champion_version,
    load_arm: Callable[[Path, str, str], Champion] = load_version,
) -> FastAPI:
    """The service of one dataset as an ASGI application.

    Args:
        settings: Of the service.
        load: Opens the champion.
        reigning: Version of the champion.
        load_arm: Opens any version, for the arms of an experiment.

    Raises:
        ConfigError: The experiment's name was used for another design.
        StoreError: The interaction log cannot be used.
    """
    service = Service(settings, load, reigning, load_arm)
    app = FastAPI(
        title="Chronotope",
        summary="What a user does next, when and where.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=service.running,
        responses=PROBLEMS,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it has its own
    )
    app.state.service = service
    posts = {**_add_answers(app, service), **_add_posts(app, service)}
    _add_states(app, service)
    add_demo_page(app, service.watcher)
    handle_problems(app)
    paths = [str(getattr(route, "path", "")) for route in app.routes]
    app.add_middleware(FastPath, posts=posts)
    app.add_middleware(AuthAndLimits, settings=settings, telemetry=service.telemetry, paths=paths)
    return app


def _add_answers(app: FastAPI, service: Service) -> dict[str, FastHandler]:
    dataset = service.settings.dataset

    @app.post("/recommend", response_model=RecommendResponse)
    async def recommend(question: RecommendRequest) -> Response:
        """Items for a user, or for a history, at a moment and a place."""
        return _json(await service.recommend(question))

    @app.post("/predict", response_model=PredictResponse)
    async def predict_next(question: PredictRequest) -> Response:
        """What a user does next, when, with intervals, and where."""
        return _json(await service.computing.in_time(predict, service.asking, dataset, question))

    @app.get("/explain", response_model=ExplainResponse)
    async def explain_items(
        user_id: Annotated[Text, Query(description="As in the log.")],
        item_id: Annotated[Text | None, Query(description="The likeliest if left out.")] = None,
        at: Annotated[Moment | None, Query(description="Now if left out.")] = None,
        k: Annotated[int, Query(ge=1, le=1000, description="Number of items.")] = 10,
    ) -> Response:
        """Why an item has its rank, or why the likeliest are the likeliest."""
        question = UserRequest(user_id=user_id, at=at, k=k)
        return _json(
            await service.computing.in_time(explain, service.asking, dataset, question, item_id)
        )

    return {
        "/recommend": (TypeAdapter(RecommendRequest), recommend),
        "/predict": (TypeAdapter(PredictRequest), predict_next),
    }


def _add_posts(app: FastAPI, service: Service) -> dict[str, FastHandler]:
    @app.post("/events", response_model=IngestReceipt)
    async def post_events(
        records: Annotated[PostedRecords, Body(description="What users did or were shown.")],
    ) -> Response:
        """Keep events and impressions. Once this answers 200 they are on the disk, each once."""
        many = records if isinstance(records, list) else [records]
        return _json(await service.computing.in_time(service.keep, many))

    return {"/events": (TypeAdapter(PostedRecords), post_events)}


def _add_states(app: FastAPI, service: Service) -> None:
    def alive(status: str) -> HealthResponse:
        opened = service.watcher.opened_or_none
        version = opened.champion.version if opened else None
        settings = service.settings
        return HealthResponse(
            status=status,
            dataset=settings.dataset,
            version=version,
            problem=service.watcher.problem,
            experiment=settings.experiment.name if settings.experiment else None,
            arms=service.arms.states(opened),
        )

    @app.get("/health", response_model=HealthResponse)
    async def health() -> Response:
        """Whether the service runs."""
        return _json(alive("running"))

    @app.get("/ready", response_model=HealthResponse)
    async def ready() -> Response:
        """Whether a champion answers; 503 if not."""
        _ = service.watcher.opened
        return _json(alive("ready"))

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.telemetry.page(), media_type="text/plain; version=0.0.4")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        policy = {"Content-Security-Policy": content_policy()}
        return HTMLResponse(directory_page(app.openapi()), headers=policy)


def _shared(
    settings: ServeSettings, log: InteractionLog, telemetry: Telemetry
) -> RedisCache | None:
    if settings.store is None:
        return None
    space = f"chronotope:{settings.dataset}:{log.identity}:"
    return RedisCache(settings.store.get_secret_value(), space, telemetry.store_failures.inc)


def _interaction(record: Posted) -> Interaction:
    payload = record.model_dump(mode="json", exclude={"kind", "key"}, exclude_none=True)
    return Interaction(key=record.key, kind=record.kind, payload=payload)


def _json(reply: BaseModel) -> Response:
    return Response(reply.model_dump_json(), media_type="application/json")
