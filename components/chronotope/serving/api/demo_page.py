"""The page at ``/``: one self-contained document, and what it needs beside the answers."""

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

_PARTS = {"{{style}}": ("page.css",), "{{script}}": ("page_text.js", "page_draw.js", "page.js")}


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class KnownUser(_Reply):
    """A user of the log."""

    user_id: str
    n_events: int = Field(description="Events in the lake; what was posted since is not counted.")


class KnownUsers(_Reply):
    """Users to choose from, whoever was active last first."""

    users: tuple[KnownUser, ...]


class MapExtent(_Reply):
    """What a map can be drawn on."""

    points: tuple[tuple[float, float], ...] = Field(
        description="Latitude and longitude, degrees WGS 84, of items and places."
    )


def add_demo_page(app: FastAPI, watcher: ChampionWatcher) -> None:
    """Add the page and its two questions to an application.

    Args:
        app: The application.
        watcher: Holds the champion and the log.
    """

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(_document().replace("{{nonce}}", nonce), headers=_headers(nonce))

    @app.get("/users", response_model=KnownUsers)
    def users(
        start: Annotated[str, Query(max_length=1000, description="How the ids begin.")] = "",
        n: Annotated[int, Query(ge=1, le=1000, description="Number of users.")] = 50,
    ) -> KnownUsers:
        """Users of the log, whoever was active last first."""
        return KnownUsers(users=_known_users(watcher.opened.histories, start, n))

    @app.get("/ground", response_model=MapExtent)
    def ground(
        n: Annotated[int, Query(ge=1, le=10_000, description="Number of points.")] = 2000,
    ) -> MapExtent:
        """Where things are, evenly drawn if there are many: the ground of a map."""
        facts = watcher.opened.facts
        return MapExtent(
            points=_points(np.r_[facts.lat, facts.place_lat], np.r_[facts.lon, facts.place_lon], n)
        )


@cache
def _document() -> str:
    room = files("chronotope.serving")
    text = room.joinpath("page.html").read_text(encoding="utf-8")
    for mark, names in _PARTS.items():
        parts = [room.joinpath(name).read_text(encoding="utf-8") for name in names]
        text = text.replace(mark, "\n".join(parts))
    return text


def _headers(nonce: str) -> dict[str, str]:
    """Nothing runs but this page's own script, and it reaches nothing but this service."""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return {"Content-Security-Policy": policy}


def _known_users(histories: EventStore, start: str, n: int) -> tuple[KnownUser, ...]:
    numbers = [number for name, number in histories.user_of.items() if name.startswith(start)]
    chosen = np.array(numbers, np.int64)
    latest = histories.occurred_us[histories.start[chosen + 1] - 1]
    names = list(histories.user_of)
    n_events = np.diff(histories.start)
    return tuple(
        KnownUser(user_id=names[number], n_events=int(n_events[number]))
        for number in chosen[np.argsort(-latest, kind="stable")[:n]].tolist()
    )


def _points(lat: Float64, lon: Float64, n: int) -> tuple[tuple[float, float], ...]:
    known = np.unique(np.stack([lat, lon], axis=1)[np.isfinite(lat) & np.isfinite(lon)], axis=0)
    rows = np.linspace(0, len(known) - 1, min(n, len(known))).astype(np.int64)
    return tuple((round(a, 6), round(b, 6)) for a, b in known[rows].tolist())
