"""A service whose state is in Postgres: an outage costs answers, and no event."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chronotope.runtime.store_urls import STATE_URL
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from tests.inference.hand_made import fill_lake, register_twice
from tests.postgres import Postgres
from tests.serving.test_process import AT, event
from tests.serving.town import LocalClient

pytestmark = pytest.mark.slow


@contextmanager
def outage(server: Postgres, database: str) -> Iterator[None]:
    """The database accepts no connection, and ends those that there are."""
    allow = f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS '
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
    with server.connected("postgres") as connection:
        connection.execute(f"{allow} false")
        connection.execute(end.format(database))
        yield
        connection.execute(f"{allow} true")


def test_an_outage_is_an_error_until_it_ends(
    state_server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(STATE_URL, state_server.url("state_outage"))
    fill_lake(tmp_path)
    register_twice(tmp_path)
    settings = ServeSettings(dataset="city", root=tmp_path, poll_s=0.2)
    ask = {"user_id": "u00", "request_time": AT}
    with LocalClient(create_app(settings)) as client:
        assert client.post("/events", json=[event("u00.1")]).json()["n_new"] == 1
        before = client.post("/predict", json=ask)
        assert before.status_code == 200, before.text
        with outage(state_server, "state_outage"):
            for path, body in (("/predict", ask), ("/events", [event("u00.2")])):
                refused = client.post(path, json=body)
                assert refused.status_code == 503, refused.text
                assert state_server.password not in refused.text
            assert client.get("/health").status_code == 200
        receipt = client.post("/events", json=[event("u00.1"), event("u00.2")])
        assert receipt.json()["n_new"] == 1
        after = client.post("/predict", json=ask | {"request_time": "2020-09-20T00:00:00Z"})
        assert after.status_code == 200
    counted = 'SELECT count(*) FROM "chronotope.city.interactions".interactions'
    assert state_server.rows("state_outage", f"{counted} WHERE kind = 'event'") == [(2,)]
