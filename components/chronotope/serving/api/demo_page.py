"""Demo page at ``/``: one self-contained HTML document, and the endpoints that only it needs."""

import secrets
from functools import cache
from importlib.resources import files
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.event_log import Float64
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.state.event_store import EventStore

_PAGE_ASSETS = {
    "{{style}}": ("page.css",),
    "{{script}}": ("page_text.js", "page_draw.js", "page_why.js", "page.js"),
}


class _PageModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class KnownUser(_PageModel):
    """User of the event log."""

    user_id: str
    n_events: int = Field(description="Events in the lake, without events posted since.")


class KnownUsers(_PageModel):
    """Users of the event log, latest activity first."""

    users: tuple[KnownUser, ...]


class MapPoints(_PageModel):
    """Background points of a map, and whether the items have pictures."""

    has_pictures: bool = Field(description="Whether pictures of the items are configured.")
    points: tuple[tuple[float, float], ...] = Field(
        description="Latitude and longitude of items and places, degrees WGS 84."
    )


def add_demo_page(app: FastAPI, watcher: ChampionWatcher, *, has_pictures: bool) -> None:
    """Add the page and its two endpoints to an application.

    Args:
        app: The application.
        watcher: Holder of the loaded champion and its event store.
        has_pictures: Whether pictures of the items are configured.
    """

    @app.get("/", include_in_schema=False)
    async def demo_page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        page_html = _page_template().replace("{{nonce}}", nonce)
        return HTMLResponse(page_html, headers=page_headers(nonce))

    @app.get("/users", response_model=KnownUsers)
    def list_users(
        prefix: Annotated[str, Query(max_length=1000, description="Prefix of the user ids.")] = "",
        limit: Annotated[int, Query(ge=1, le=1000, description="Number of users.")] = 50,
    ) -> KnownUsers:
        """Users of the event log, latest activity first."""
        event_store = watcher.loaded_champion.event_store
        return KnownUsers(users=_latest_users(event_store, prefix, limit))

    @app.get("/map-points", response_model=MapPoints)
    def map_points(
        limit: Annotated[int, Query(ge=1, le=10_000, description="Number of points.")] = 2000,
    ) -> MapPoints:
        """Coordinates of items and places, evenly sampled."""
        item_metadata = watcher.loaded_champion.item_metadata
        all_lat = np.r_[item_metadata.lat, item_metadata.place_lat]
        all_lon = np.r_[item_metadata.lon, item_metadata.place_lon]
        points = _sample_points(all_lat, all_lon, limit)
        return MapPoints(has_pictures=has_pictures, points=points)


@cache
def _page_template() -> str:
    package_files = files("chronotope.serving.api")
    template = package_files.joinpath("page.html").read_text(encoding="utf-8")
    for placeholder, asset_names in _PAGE_ASSETS.items():
        assets = [package_files.joinpath(name).read_text(encoding="utf-8") for name in asset_names]
        template = template.replace(placeholder, "\n".join(assets))
    return template


def page_headers(nonce: str) -> dict[str, str]:
    """Headers that allow a page's own script alone, and requests to this service alone.

    Args:
        nonce: Random text that the page's script and style carry.
    """
    content_policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return {"Content-Security-Policy": content_policy}


def _latest_users(event_store: EventStore, prefix: str, limit: int) -> tuple[KnownUser, ...]:
    matching_users = np.array(
        [user for user_id, user in event_store.user_of.items() if user_id.startswith(prefix)],
        np.int64,
    )
    latest_us = event_store.occurred_us[event_store.start[matching_users + 1] - 1]
    user_ids = list(event_store.user_of)
    n_events = np.diff(event_store.start)
    latest_order = np.argsort(-latest_us, kind="stable")[:limit]
    return tuple(
        KnownUser(user_id=user_ids[user], n_events=int(n_events[user]))
        for user in matching_users[latest_order].tolist()
    )


def _sample_points(
    all_lat: Float64, all_lon: Float64, limit: int
) -> tuple[tuple[float, float], ...]:
    has_coordinates = np.isfinite(all_lat) & np.isfinite(all_lon)
    distinct_points = np.unique(np.stack([all_lat, all_lon], axis=1)[has_coordinates], axis=0)
    n_points = min(limit, len(distinct_points))
    sample_rows = np.linspace(0, len(distinct_points) - 1, n_points).astype(np.int64)
    return tuple(
        (round(lat_deg, 6), round(lon_deg, 6))
        for lat_deg, lon_deg in distinct_points[sample_rows].tolist()
    )
