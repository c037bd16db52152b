"""The service knows the weather of a moment as the lake does, and learns of new readings."""

from fastapi.testclient import TestClient

from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from tests.inference.hand_made import LAST_S
from tests.inference.weather import Weathered, add_readings, weathered
from tests.serving.test_answers import ask
from tests.serving.test_swap import look
from tests.serving.town import LocalClient, Town

AT = "2020-09-13T18:26:40+00:00"  # six hours after the last event


def test_readings_reach_the_graph_and_new_ones_replace_them(town: Town) -> None:
    app = create_app(
        ServeSettings(dataset="city", root=town.root),
        load=lambda root, _: weathered(root / "versions" / "1"),
        champion_version=lambda *_: "1",
    )
    add_readings(town.root)
    with LocalClient(app) as client:
        ask(client, user_id="u00", request_time=AT)
        assert Weathered.told() == {"rain_mm": 2.0}
        add_readings(town.root, [(LAST_S + 5 * 3600, "i02", 8.0)])
        assert look(client)
        ask(client, user_id="u00", request_time=AT)
        assert Weathered.told() == {"rain_mm": 8.0}
        ask(client, user_id="u00", request_time=AT, context={"rain_mm": 0.0})
        assert Weathered.told() == {"rain_mm": 0.0}


def test_a_column_the_champion_does_not_know_is_named(client: TestClient) -> None:
    reply = client.post("/recommend", json={"user_id": "u00", "context": {"moon": 1.0}})
    assert reply.status_code == 422
    assert reply.json()["received"] == "['moon']"
