"""From a question to a verdict: users ask a real service, click, and the log is judged."""

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chronotope.experiments.experiment import Experiment
from chronotope.experiments.experiment_report import (
    ExperimentReport,
    OutcomeLimits,
    report_experiment,
)
from chronotope.lake import InteractionLog
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api import recommend_endpoint
from chronotope.serving.model.replay import RequestReplay
from chronotope.serving.settings import ServeSettings
from tests.serving.test_answers import ask, event, ids
from tests.serving.town import LocalClient, Town

LIKED = {"i00": 0.5}  # what guests go for when it comes first; anything else, by OTHER
OTHER = 0.1
N_USERS = 240
EXPLORE = {"kind": "uniform", "share": 0.5, "pool": 5}
ARMS = [
    {"name": "old", "share": 0.7, "model": "2", "explore": EXPLORE},
    {"name": "new", "share": 0.3, "model": "1"},
    {"name": "unseen", "share": 0.5, "model": "1", "mode": "shadow"},
]
DESIGN = Experiment.model_validate({"name": "first-place", "arms": ARMS})


def visit(client: TestClient, user: str, rng: np.random.Generator) -> None:
    """Ask for one item, and take it or leave it; whoever takes it says which answer it was."""
    said = ask(client, user_id=user, request_time="2020-10-01T18:00:00Z", k=1)
    (item,) = ids(said)
    if rng.random() < LIKED.get(item, OTHER):
        told = event(user, item, user, "2020-10-01T18:30:00Z") | {"answer_id": said["answer_id"]}
        assert client.post("/events", json=told).status_code == 200


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Version 1 puts the liked item first, version 2 second; users asked and clicked."""
    town, rng = Town.build(tmp_path_factory.mktemp("root")), np.random.default_rng(0)
    town.add("2", boost=-0.004)
    answer_ids = np.random.default_rng(0)  # an interval misses the truth now and then
    with (
        pytest.MonkeyPatch.context() as patch,
        LocalClient(town.app(poll_s=3600, experiment=DESIGN)) as client,
    ):
        patch.setattr(
            recommend_endpoint, "uuid4", lambda: UUID(bytes=answer_ids.bytes(16), version=4)
        )
        for user in range(N_USERS):
            visit(client, f"guest {user}", rng)
        app = client.app
        assert isinstance(app, FastAPI)
        app.state.service.recommend_endpoint.shadow_worker.stop()
    return town


@pytest.fixture(scope="module")
def report(town: Town) -> ExperimentReport:
    log = InteractionLog(Workspace(town.root).interactions("city"))
    settings = ServeSettings(dataset="city", root=town.root)
    with RequestReplay(settings, "1", load=town.load_version) as target:
        told = report_experiment(log, DESIGN, [lambda: target], OutcomeLimits(min_users=30))
    log.close()
    return told


def test_the_arm_that_shows_what_is_liked_wins(report: ExperimentReport) -> None:
    old, new = report.arms
    assert (old.versions, new.versions) == (("2",), ("1",))
    assert old.n_lists + new.n_lists == N_USERS
    assert new.uplift is not None
    assert new.uplift.low <= 0.5 - (0.9 * OTHER + 0.1 * LIKED["i00"]) <= new.uplift.high
    assert "better" in new.verdict


def test_what_was_drawn_tells_what_the_other_version_is_worth(report: ExperimentReport) -> None:
    (policy,) = report.policies
    assert (policy.version, policy.n_known) == ("1", 0)
    assert policy.estimate is not None
    assert policy.estimate.dr.low <= LIKED["i00"] <= policy.estimate.dr.high
    assert policy.estimate.n_lists == report.arms[0].n_lists  # the other arm draws nothing


def test_the_shadow_answered_about_half_of_them(report: ExperimentReport) -> None:
    (shadow,) = report.shadows
    assert shadow.versions == ("1",)
    assert 0.3 * N_USERS < shadow.n_lists < 0.7 * N_USERS
    assert 0.2 < shadow.same_first < 0.6  # the same as the arm of its own version


def test_a_replayed_question_gets_the_list_it_got(town: Town, report: ExperimentReport) -> None:
    log = InteractionLog(Workspace(town.root).interactions("city"))
    shown = [s.payload for s in log.read(0, 999, "impression") if s.payload["arm"] == "new"]
    log.close()
    with RequestReplay(
        ServeSettings(dataset="city", root=town.root), "1", load=town.load_version
    ) as old:
        for told in shown[:20]:
            again = old.listed(told["user_id"], told["shown_at"], told["request"])
            assert [item for item, _ in again] == told["items"]
            assert [p for _, p in again] == pytest.approx(told["probabilities"])
        before = InteractionLog(Workspace(town.root).interactions("city"))
        assert before.count() == old._service.interaction_log.count()  # and nothing was logged
        before.close()


def test_what_cannot_be_asked_again_is_an_empty_list(town: Town) -> None:
    settings: Any = ServeSettings(dataset="city", root=town.root)
    with RequestReplay(settings, "1", load=town.load_version) as old:
        assert old.listed("u", "2020-10-01T18:00:00Z", {"category": "cakes"}) == []
        assert old.listed("u", "2020-10-01T18:00:00Z", {"k": 0}) == []
        assert old.listed("u", "no time", {}) == []
