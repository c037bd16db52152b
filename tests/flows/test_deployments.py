"""What a user may trigger, when it runs by itself, and that its forms explain themselves."""

from argparse import Namespace
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate

from chronotope.contracts.errors import ConfigError
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import watermark_path
from chronotope.feedback.retrain_results import RetrainPlan
from chronotope.feedback.watermark import Watermark, write_watermark
from chronotope.lake.interaction_log import Interaction, InteractionLog
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.workspace import Workspace
from flows import watch_interactions
from flows.anomalies.train_anomaly import train_anomaly
from flows.backfill_events import backfill_events
from flows.change_champion import promote_model, roll_back_model
from flows.classify_items import classify_items
from flows.collect_feedback import collect_feedback, decision_markdown
from flows.compress_model import compress_model
from flows.deployments import deployments, main, own_folders
from flows.embed_items import embed_items
from flows.erasure.forget_users import forget_users
from flows.federated.federated_train import federated_train
from flows.ingest_events import IngestSettings, ingest_events
from flows.monitor_drift import monitor_drift
from flows.pretrain_model import pretrain_model
from flows.privacy.expire_data import expire_data
from flows.score_users import score_users
from flows.synthesis.synthesise_log import synthesise_log
from flows.train_model import train_model
from flows.watch_interactions import InteractionWatcher, n_waiting, watch_in_thread

FLOWS = (
    ingest_events,
    embed_items,
    classify_items,
    train_model,
    pretrain_model,
    federated_train,
    train_anomaly,
    collect_feedback,
    monitor_drift,
    compress_model,
    backfill_events,
    score_users,
    synthesise_log,
    promote_model,
    roll_back_model,
    expire_data,
    forget_users,
)


def made(root: Path, **more: Any) -> dict[str, RunnerDeployment]:
    settings = {"training": TrainSettings(root=root), "ingestion": IngestSettings(root=root)}
    found = deployments("conf/datasets/cafe.yaml", "cafe", **settings, **more)
    return {str(each.flow_name): each for each in found}


def test_each_flow_is_deployed_once_and_waits_for_itself(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert set(found) == {flow.name for flow in FLOWS}
    for each in found.values():
        assert (each.name, each.tags, bool(each.description)) == (
            "cafe",
            ["chronotope", "cafe"],
            True,
        )
        assert each.concurrency_limit == 1
        assert each.concurrency_options is not None
        assert each.concurrency_options.collision_strategy == "ENQUEUE"


@pytest.mark.parametrize("scheduled", [True, False])
def test_schedules_are_nightly_and_weekly_and_can_be_paused(
    tmp_path: Path, scheduled: bool
) -> None:
    found = made(tmp_path, scheduled=scheduled)
    crons = {
        name: [(of.schedule.cron, of.schedule.timezone, of.active) for of in each.schedules or []]  # type: ignore[union-attr]
        for name, each in found.items()
    }
    assert crons.pop("collect-feedback") == [("0 3 * * *", "UTC", scheduled)]
    assert crons.pop("monitor-drift") == [("0 2 * * *", "UTC", scheduled)]
    assert crons.pop("score-users") == [("0 4 * * *", "UTC", scheduled)]
    assert crons.pop("expire-data") == [("0 5 * * *", "UTC", scheduled)]
    assert crons.pop("train-anomaly") == [("0 6 * * 0", "UTC", scheduled)]
    assert crons.pop("train-model") == [("0 1 * * 0", "UTC", scheduled)]
    assert set(map(len, crons.values())) == {0}


def test_events_start_the_feedback_and_the_scoring_flow_and_no_other(tmp_path: Path) -> None:
    triggers = {
        name: [
            (each.expect, each.match.root)
            for each in of.triggers
            if isinstance(each, DeploymentEventTrigger)
        ]
        for name, of in made(tmp_path).items()
        if of.triggers
    }
    resource = {"prefect.resource.id": "chronotope.dataset.cafe"}
    assert triggers == {
        "collect-feedback": [({"interactions.logged"}, resource), ({"drift.detected"}, resource)],
        "score-users": [({"champion.promoted"}, resource)],
    }


def test_drift_tells_the_feedback_flow_its_reasons(tmp_path: Path) -> None:
    logged, drifted = made(tmp_path)["collect-feedback"].triggers
    assert logged.parameters is None
    event = {"payload": {"reasons": ["hours: p < .01"]}}
    context = HydrationContext(
        raise_on_error=True, render_jinja=True, jinja_context={"event": event}
    )
    filled = collect_feedback.validate_parameters(hydrate(drifted.parameters or {}, context))
    assert filled["feedback"] == FeedbackConfig(drift_reasons=("hours: p < .01",))
    assert filled["ingestion"].root == tmp_path


def test_the_defaults_are_parameters_that_the_flows_take(tmp_path: Path) -> None:
    found = made(tmp_path)
    asked = {"version": "1", "reason": "because"}
    asked["period"] = {"start": "2024-01-01", "end": "2024-02-01"}
    for flow in FLOWS:
        given = found[flow.name].parameters
        needed = set(parameter_schema(flow).required) - set(given)
        told = {name: asked[name] for name in needed}
        valid = flow.validate_parameters({**given, **told})
        assert all(of.root == tmp_path for of in valid.values() if hasattr(of, "root"))


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_parameter_of_every_form_has_its_help(flow: Any) -> None:
    schema = parameter_schema(flow).model_dump()
    fields = {
        (name, field): told
        for name, of in schema["definitions"].items()
        for field, told in of.get("properties", {}).items()
    }
    assert fields
    assert [name for name, told in fields.items() if not told.get("description")] == []
    assert all(told["description"] for told in schema["properties"].values())


def test_a_decision_is_told_with_its_reasons() -> None:
    told = decision_markdown(RetrainPlan(action="retrain", mode="warm", reasons=("drift", "age")))
    assert told == "**Decision: retrain (warm).**\n\n- drift\n- age"


def log_events(root: Path, n: int) -> int:
    with closing(InteractionLog(Workspace(root).interactions("cafe"))) as log:
        first = log.last()
        log.append([Interaction(key=f"{first + i}", kind="event", payload={}) for i in range(n)])
        return log.last()


def test_enough_new_interactions_are_told_once(tmp_path: Path) -> None:
    said: list[tuple[str, int]] = []
    watch = InteractionWatcher(
        "cafe", tmp_path, min_rows=10, emit_event=lambda *told: said.append(told)
    )
    for n in (0, 9, 1, 5, 0, 50):
        last = log_events(tmp_path, n)
        watch.poll()
    assert said == [("cafe", 10)]
    write_watermark(watermark_path(Workspace(tmp_path), "cafe"), Watermark(seq=last))
    watch.poll()
    log_events(tmp_path, 10)
    watch.poll()
    assert said[1:] == [("cafe", 10)]


def test_what_was_shown_is_no_event(tmp_path: Path) -> None:
    said: list[tuple[str, int]] = []
    with closing(InteractionLog(Workspace(tmp_path).interactions("cafe"))) as log:
        log.append([Interaction(key=f"s{n}", kind="impression", payload={}) for n in range(30)])
    log_events(tmp_path, 3)
    watch = InteractionWatcher(
        "cafe", tmp_path, min_rows=4, emit_event=lambda *told: said.append(told)
    )
    watch.poll()
    assert (said, n_waiting("cafe", tmp_path)) == ([], 3)
    log_events(tmp_path, 1)
    watch.poll()
    assert said == [("cafe", 4)]


def test_a_log_that_is_broken_stops_nobody(tmp_path: Path) -> None:
    path = Workspace(tmp_path).interactions("cafe")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all " * 100)
    with watch_in_thread("cafe", tmp_path, poll_s=0.01):
        pass


def test_watching_needs_a_server_to_tell(tmp_path: Path) -> None:
    words = ["--dataset", "cafe", "--root", str(tmp_path)]
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(ConfigError) as refused:
        watch_interactions.main(words)
    assert "PREFECT_API_URL" in str(refused.value)


def test_forms_of_served_deployments_reach_no_further_than_their_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    spec = tmp_path / "own" / "cafe.yaml"
    spec.write_text("name: cafe")
    monkeypatch.chdir(tmp_path / "own")
    named = Namespace(dataset="cafe", root=tmp_path / "root")
    assert own_folders(named) == {tmp_path / "root", tmp_path / "own"}
    elsewhere = Namespace(dataset=str(spec), root=Path())
    monkeypatch.chdir(tmp_path)
    assert own_folders(elsewhere) == {tmp_path, tmp_path / "own"}


@pytest.mark.slow
def test_a_pool_of_workers_takes_them_too(
    prefect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="machines", type="process"))
        words = ["--dataset", "simulated_city", "--root", str(tmp_path), "--paused"]
        main([*words, "--work-pool", "machines"])
        found = client.read_deployment_by_name("collect-feedback/simulated_city")
    assert (found.work_pool_name, found.entrypoint) == (
        "machines",
        "flows.collect_feedback.collect_feedback",
    )
    assert found.job_variables == {"working_dir": str(Path.cwd())}  # where conf/ is
    assert [(each.schedule.cron, each.active) for each in found.schedules] == [("0 3 * * *", False)]
