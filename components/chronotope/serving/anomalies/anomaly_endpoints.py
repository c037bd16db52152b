"""Endpoints of anomalies: flagged events, drift of the scores, and a page that shows both."""

import secrets
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Annotated

from fastapi import FastAPI, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from chronotope.lake.anomaly_alerts import StoredAlert
from chronotope.serving.anomalies.live_detector import EventScore, LiveDetector
from chronotope.serving.api.demo_page import page_headers
from chronotope.serving.api.responses import IngestReceipt
from chronotope.serving.executor import BoundedExecutor


class ScoredEvent(BaseModel):
    """Anomaly score of a posted event."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(description="Key with which it was posted.")
    score: float = Field(description="-log p among the training events; higher is more anomalous.")
    is_flagged: bool = Field(description="Whether the score is beyond the threshold.")
    is_alert: bool = Field(description="Whether it is also within the alert budget of its day.")
    reasons: tuple[str, ...] = Field(description="Features that raise a flagged score.")

    @classmethod
    def of(cls, event_score: EventScore) -> "ScoredEvent":
        """Response of a score."""
        return cls(
            key=event_score.key,
            score=round(event_score.surprise, 4),
            is_flagged=event_score.is_flagged,
            is_alert=event_score.is_alert,
            reasons=event_score.reasons,
        )


class ScoredReceipt(IngestReceipt):
    """Counts of posted records, and the anomaly scores of the events."""

    anomalies: tuple[ScoredEvent, ...] = Field(description="Scores of the posted events.")


class AnomalyEvent(BaseModel):
    """Event that was flagged."""

    model_config = ConfigDict(frozen=True)

    key: str
    user_id: str
    item_id: str
    occurred_at: datetime
    score: float
    is_alert: bool = Field(description="Whether it was within the alert budget of its day.")
    reasons: tuple[str, ...]
    lat: float | None
    lon: float | None

    @classmethod
    def of(cls, alert: StoredAlert) -> "AnomalyEvent":
        """Response of a stored event."""
        event = alert.event
        return cls(
            key=event.key,
            user_id=event.user_id,
            item_id=event.item_id,
            occurred_at=datetime.fromtimestamp(event.occurred_s, UTC),
            score=round(event.surprise, 4),
            is_alert=alert.is_alert,
            reasons=event.reasons,
            lat=event.lat,
            lon=event.lon,
        )


class DriftOfScores(BaseModel):
    """Latest scores beside those of the training events."""

    model_config = ConfigDict(frozen=True)

    n_scores: int
    flagged_share: float
    expected_share: float
    distance: float = Field(description="Kolmogorov-Smirnov distance of the p-values.")
    has_drifted: bool


class Anomalies(BaseModel):
    """Flagged events, newest first."""

    model_config = ConfigDict(frozen=True)

    version: str | None = Field(description="Version of the detector; None without one.")
    drift: DriftOfScores | None = Field(description="None with fewer than 200 scores.")
    events: tuple[AnomalyEvent, ...]


def add_anomaly_endpoints(
    app: FastAPI, live_detector: LiveDetector, executor: BoundedExecutor
) -> None:
    """Add ``GET /anomalies`` and its page to an application.

    Args:
        app: The application.
        live_detector: Holder of the detector and of the flagged events.
        executor: Threads that read.
    """

    def read_anomalies(limit: int, alerts_only: bool) -> Anomalies:
        drift = live_detector.drift()
        stored_alerts = live_detector.alerts.latest(limit, alerts_only=alerts_only)
        return Anomalies(
            version=live_detector.version,
            drift=None
            if drift is None
            else DriftOfScores(
                n_scores=drift.n_scores,
                flagged_share=drift.flagged_share,
                expected_share=drift.expected_share,
                distance=round(drift.distance, 4),
                has_drifted=drift.has_drifted,
            ),
            events=tuple(AnomalyEvent.of(alert) for alert in stored_alerts),
        )

    @app.get("/anomalies", response_model=Anomalies)
    async def list_anomalies(
        limit: Annotated[int, Query(ge=1, le=1000, description="Number of events.")] = 100,
        alerts_only: Annotated[
            bool, Query(description="Only events within the alert budget of their day.")
        ] = False,
    ) -> Response:
        """Events that were flagged, newest first, and the drift of the scores."""
        anomalies = await executor.run(read_anomalies, limit, alerts_only)
        return Response(anomalies.model_dump_json(), media_type="application/json")

    @app.get("/anomalies/page", include_in_schema=False)
    async def anomalies_page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        page_html = _page_template().replace("{{nonce}}", nonce)
        return HTMLResponse(page_html, headers=page_headers(nonce))


@cache
def _page_template() -> str:
    package_files = files("chronotope.serving.anomalies")
    template = package_files.joinpath("page_anomalies.html").read_text(encoding="utf-8")
    script = package_files.joinpath("page_anomalies.js").read_text(encoding="utf-8")
    return template.replace("{{script}}", script)
