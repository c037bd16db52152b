"""Endpoints of the service's state: health, readiness and metrics."""

from typing import TYPE_CHECKING

from fastapi import FastAPI, Response

from chronotope.serving.api.responses import HealthResponse

if TYPE_CHECKING:
    from chronotope.serving.api.app import Service


def add_state_endpoints(app: FastAPI, service: "Service") -> None:
    """Add ``/health``, ``/ready`` and ``/metrics`` to an application.

    Args:
        app: The application.
        service: Its components.
    """

    def service_state(status: str) -> HealthResponse:
        loaded_champion = service.watcher.loaded_or_none
        settings = service.settings
        return HealthResponse(
            status=status,
            dataset=settings.dataset,
            version=loaded_champion.champion.version if loaded_champion else None,
            source=service.source,
            problem=service.watcher.problem,
            experiment=settings.experiment.name if settings.experiment else None,
            arms=service.arms.arm_states(loaded_champion),
        )

    @app.get("/health", response_model=HealthResponse)
    async def health() -> Response:
        """Liveness: the service runs."""
        return _json_response(service_state("running"))

    @app.get("/ready", response_model=HealthResponse)
    async def ready() -> Response:
        """Readiness: a champion is loaded, or predictions are stored; 503 without either."""
        if service.uses_stored_predictions:
            return _json_response(service_state("degraded"))
        _ = service.watcher.loaded_champion
        return _json_response(service_state("ready"))

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Metrics in the text format of Prometheus."""
        media_type = "text/plain; version=0.0.4"
        return Response(service.telemetry.metrics_page(), media_type=media_type)


def _json_response(response_model: HealthResponse) -> Response:
    return Response(response_model.model_dump_json(), media_type="application/json")
