"""Users answered by arms, shadows that nobody sees, and lists drawn at random."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chronotope.artifact.bundle import MODEL
from chronotope.contracts.errors import ConfigError
from chronotope.experiments.experiment import Experiment
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.model.shadow import ShadowWorker
from tests.serving.test_answers import AT, ask, event, foretell, ids, metric
from tests.serving.test_swap import look
from tests.serving.town import LocalClient, Town

USERS = [f"u{n:02d}" for n in range(40)]
TWO = [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5, "model": "2"}]
ONE = [{"name": "all", "share": 1}]
SHADOW = {"name": "unseen", "share": 1, "model": "2", "mode": "shadow"}


def design(arms: list[dict[str, Any]], name: str = "one") -> Experiment:
    return Experiment.model_validate({"name": name, "arms": arms})


def serve(town: Town, arms: list[dict[str, Any]], **settings: Any) -> LocalClient:
    return LocalClient(town.app(poll_s=3600, experiment=design(arms), **settings))


def logged(client: TestClient) -> list[dict[str, Any]]:
    """All impressions, once shadows and the log have done what waits."""
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.service.recommend_endpoint.shadow_worker.stop()
    app.state.service.impression_writer.stop()
    return [one.payload for one in app.state.service.interaction_log.read(0, 10_000, "impression")]


@pytest.fixture
def two(town: Town) -> Town:
    """Version 2 puts its first item last."""
    town.add("2", boost=-1.0)
    return town


@pytest.fixture
def client(two: Town) -> Iterator[TestClient]:
    with serve(two, TWO) as opened:
        yield opened


def test_each_user_is_answered_by_their_arm_again_and_again(client: TestClient) -> None:
    wanted = {user: design(TWO).arm_of(user).name for user in USERS}
    for _ in range(2):
        said = {user: ask(client, user_id=user, request_time=AT) for user in USERS}
        assert {user: one["arm"] for user, one in said.items()} == wanted
        assert {(one["arm"], one["version"]) for one in said.values()} == {
            ("old", "1"),
            ("new", "2"),
        }
    n_new = list(wanted.values()).count("new")
    assert metric(client, "chronotope_arm_answers_total", arm="new", fell_back="no") == 2 * n_new


def test_what_was_shown_is_logged_with_its_arm(client: TestClient) -> None:
    said = [ask(client, user_id=user, request_time=AT, k=3, exclude_seen=True) for user in USERS]
    shown = logged(client)
    for one, kept in zip(said, shown, strict=True):
        told = [kept[of] for of in ("experiment", "arm", "version", "answer_id", "items")]
        assert told == ["one", one["arm"], one["version"], one["answer_id"], ids(one)]
        assert kept["request"] == {"k": 3, "exclude_seen": True}
        assert "fell_back" not in kept


def test_whoever_has_no_id_takes_no_part(client: TestClient) -> None:
    said = ask(client, history=[], request_time=AT)
    assert (said["arm"], said["experiment"], said["version"]) == (None, None, "1")


def add_visit(town: Town) -> None:
    """One more event of u00 in the lake."""
    instant = pa.array([1_599_998_000 * 1_000_000], pa.timestamp("us", tz="UTC"))
    row = {"event_id": ["n"], "user_id": ["u00"], "item_id": ["i09"], "place_id": ["i09"]}
    row |= {"event_type": ["visit"], "occurred_at": instant}
    Lake(Workspace(town.root).lake("city")).merge_events(pa.table(row))


def test_an_arm_follows_its_alias_and_the_lake(town: Town) -> None:
    town.add("2", boost=-1.0)
    town.add("3", boost=1.0)
    arms, points_to = [{"name": "new", "share": 1, "model": "next"}], ["2"]
    with serve(town, arms) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        service.arms._version_of = lambda *_: points_to[0]
        look(client)
        assert ask(client, user_id="u00", request_time=AT)["version"] == "2"
        points_to[0] = "3"
        look(client)
        assert ask(client, user_id="u00", request_time=AT)["version"] == "3"
        add_visit(town)
        assert look(client)
        said = ask(client, user_id="u00", request_time=AT)
        assert (said["version"], said["n_history"]) == ("3", 4)


def test_an_arm_that_cannot_be_opened_is_the_champion_and_says_so(two: Town) -> None:
    (two.root / "versions" / "2" / MODEL).write_bytes(b"no graph")
    with serve(two, TWO) as client:
        said = {user: ask(client, user_id=user, request_time=AT) for user in USERS}
        assert {one["version"] for one in said.values()} == {"1"}
        old, new = client.get("/health").json()["arms"]
        assert (old["fell_back"], old["version"], old["problem"]) == (False, "1", None)
        assert (new["fell_back"], new["version"]) == (True, "1")
        assert "manifest" in new["problem"]
        n_new = sum(one["arm"] == "new" for one in said.values())
        found = metric(client, "chronotope_arm_answers_total", arm="new", fell_back="yes")
        assert found == n_new > 0
        assert metric(client, "chronotope_arm_open", arm="new") == 0
        assert metric(client, "chronotope_arm_open", arm="old") == 1
        assert sum(one.get("fell_back", False) for one in logged(client)) == n_new


def test_a_model_that_fails_later_keeps_the_one_that_answered(two: Town) -> None:
    two.add("3")
    (two.root / "versions" / "3" / MODEL).write_bytes(b"no graph")
    points_to = ["2"]
    with serve(two, [{"name": "new", "share": 1, "model": "next"}]) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        service.arms._version_of = lambda *_: points_to[0]
        look(client)
        points_to[0] = "3"
        look(client)
        (arm,) = client.get("/health").json()["arms"]
        assert (arm["version"], arm["fell_back"], bool(arm["problem"])) == ("2", False, True)
        add_visit(two)
        look(client)
        said = ask(client, user_id="u00", request_time=AT)
        assert (said["version"], said["n_history"]) == ("2", 4)  # it misses no event meanwhile


def test_a_model_that_cannot_read_new_events_gives_way_to_the_champion(
    two: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(two, [{"name": "new", "share": 1, "model": "2"}]) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        model = service.arms._loaded_models["2"].champion.model
        monkeypatch.setattr(model, "answer", lambda _: 1 / 0)
        add_visit(two)
        assert look(client)
        said = ask(client, user_id="u00", request_time=AT)
        assert (said["version"], said["n_history"], said["arm"]) == ("1", 4, "new")
        assert client.get("/health").json()["arms"][0]["fell_back"]


QUESTIONS: list[dict[str, Any]] = [
    {"user_id": user, "request_time": AT, "k": k, **more}
    for user in ("u00", "u01", "nobody")
    for k in (1, 5)
    for more in ({}, {"exclude_seen": True}, {"epsilon": 0.5}, {"diversity": 0.5})
]


def answers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bytes of the answers, with ids that can be foretold."""
    said = []
    for n, question in enumerate(QUESTIONS):
        with monkeypatch.context() as patch:
            foretell(patch, n)
            said.append(client.post("/recommend", json=question).content)
    return said


@pytest.mark.parametrize("fails", [False, True])
def test_shadows_change_no_byte_of_an_answer(
    two: Town, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    with serve(two, ONE) as client:
        wanted = answers(client, monkeypatch)
    shadow = design([*ONE, SHADOW], "two").model_copy(update={"name": "one"})
    (two.root / "data/experiments/city/one.json").unlink()
    with LocalClient(two.app(poll_s=3600, experiment=shadow)) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        if fails:
            opened = service.arms._loaded_models["2"].champion.model
            monkeypatch.setattr(opened, "answer", lambda _: 1 / 0)
        assert answers(client, monkeypatch) == wanted
        shown = logged(client)
        n = metric(client, "chronotope_shadow_answers_total", result="failed" if fails else "done")
    unseen = [one for one in shown if "shadow_of" in one]
    assert n == len(QUESTIONS)
    assert len(unseen) == (0 if fails else n)
    assert all(one["version"] == "2" and one["arm"] == "unseen" for one in unseen)
    assert {one["shadow_of"] for one in unseen} <= {one["answer_id"] for one in shown}


def test_what_shadows_cannot_take_is_dropped_and_counted(two: Town) -> None:
    with serve(two, [*ONE, SHADOW]) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        slow = ShadowWorker(lambda _: None, service.telemetry, max_queue=3)  # never started
        service.recommend_endpoint.shadow_worker, running = (
            slow,
            service.recommend_endpoint.shadow_worker,
        )
        running.stop()
        for user in USERS:
            ask(client, user_id=user, request_time=AT)
        found = metric(client, "chronotope_shadow_answers_total", arm="unseen", result="dropped")
        assert found == len(USERS) - 3


def test_a_shadow_that_is_not_open_is_not_asked(two: Town) -> None:
    (two.root / "versions" / "2" / MODEL).write_bytes(b"no graph")
    with serve(two, [*ONE, SHADOW]) as client:
        ask(client, user_id="u00", request_time=AT)
        assert [one.get("shadow_of") for one in logged(client)] == [None]


@pytest.mark.parametrize(
    ("kind", "pool", "diversity"),
    [("uniform", 100, 0), ("softmax", 100, 0), ("thompson", 100, 0), ("softmax", 3, 0.9)],
)
def test_logged_propensities_are_the_frequencies_of_the_service(
    town: Town, monkeypatch: pytest.MonkeyPatch, kind: str, pool: int, diversity: float
) -> None:
    foretell(monkeypatch, 0)  # or one of 180 shares is beyond 4.5 errors now and then
    how, n = {"kind": kind, "share": 0.7, "temperature": 2, "pool": pool}, 600
    with LocalClient(town.app(poll_s=3600, exploration=how)) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        asked = {"user_id": "u00", "request_time": AT, "k": 3, "diversity": diversity}
        question = RecommendRequest.model_validate(asked)
        said = [service.recommend_endpoint.recommend(question) for _ in range(n)]
    best = [item.id for item in next(one for one in said if not one.explored).items]
    drawn = {item.id for one in said if one.explored for item in one.items}
    assert (set(best) <= drawn) == (not diversity)  # a diverse list goes beyond a small pool
    told = {
        (item.id, row): p
        for one in said
        for row, (item, p) in enumerate(zip(one.items, one.propensities, strict=True))
    }
    for (item_id, row), p in told.items():
        share = np.mean([one.items[row].id == item_id for one in said])
        assert share == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / n) + 1e-9)
    assert np.mean([one.explored for one in said]) == pytest.approx(0.7, abs=0.1)


def test_a_question_may_refuse_to_explore_or_ask_for_it(town: Town) -> None:
    with LocalClient(town.app(poll_s=3600, exploration={"share": 1.0})) as client:
        by_default = ask(client, user_id="u00", request_time=AT)
        assert (by_default["explored"], by_default["policy"]) == (True, "epsilon 1 of 15")
        for more in ({"explore": False}, {"epsilon": 0}, {"explore": False, "epsilon": 1}):
            said = ask(client, user_id="u00", request_time=AT, **more)
            assert (said["explored"], said["policy"]) == (False, "greedy")
            assert said["propensities"] == [1.0] * 10


def test_the_id_of_an_answer_is_the_seed_of_its_draw(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lists() -> list[bytes]:
        with LocalClient(town.app(poll_s=3600, exploration={"share": 0.5})) as client:
            return answers(client, monkeypatch)

    assert lists() == lists()


def test_no_diversity_is_the_answer_as_it_was(town: Town, client: TestClient) -> None:
    plain, none = (
        ask(client, user_id="u00", request_time=AT, k=9, **m) for m in ({}, {"diversity": 0})
    )
    del plain["answer_id"], none["answer_id"]
    assert plain == none
    more = ask(client, user_id="u00", request_time=AT, k=9, diversity=0.9)
    assert (more["policy"], more["propensities"]) == ("diverse 0.9", [1.0] * 9)
    assert ids(more)[0] == ids(plain)[0]
    assert ids(more) != ids(plain)


def test_events_keep_the_answer_they_came_of(client: TestClient) -> None:
    said = ask(client, user_id="u00", request_time=AT)
    told = event("a", ids(said)[0]) | {"answer_id": said["answer_id"]}
    assert client.post("/events", json=told).status_code == 200
    (stored,) = client.app.state.service.interaction_log.read(0, 10, "event")  # type: ignore[attr-defined]
    assert stored.payload["answer_id"] == said["answer_id"]


def test_another_design_of_the_same_name_is_not_served(town: Town, tmp_path: Path) -> None:
    town.app(experiment=design(TWO))
    with pytest.raises(ConfigError, match="new name"):
        town.app(experiment=design(ONE))


def test_an_experiment_needs_the_log(town: Town) -> None:
    with pytest.raises(ValueError, match="log_impressions"):
        town.app(experiment=design(ONE), log_impressions=False)
