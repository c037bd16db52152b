"""Feedback taken in, learned from, judged; done twice it is done once."""

import pytest

from chronotope.feedback.intake import watermark_path
from chronotope.feedback.watermark import read_watermark
from chronotope.pipelines import evaluate_holdout
from chronotope.registry.manual_promotion import promote_by_hand
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import current_champion
from chronotope.runtime.engine import EngineConfig, open_engine
from chronotope.runtime.step_cache import step_costs
from chronotope.runtime.workspace import Workspace
from flows import collect_feedback as module
from flows.collect_feedback import FeedbackResult
from tests.flows.feedback_town import Town

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Town:
    """A town with a champion, whatever the gate says of it."""
    town = Town(tmp_path_factory.mktemp("town")).settle()
    promoted = town.train().promotion
    if not promoted.promoted:
        promote_by_hand(town.root, "town", promoted.version, "the test needs one")
    return town


def test_without_an_interaction_nothing_happens(town: Town) -> None:
    version = town.lake.version("events")
    found = town.collect(force=True)
    assert (found.intake.n_read, found.promotion) == (0, None)
    assert found.decision.reasons == ("no new events",)
    assert town.lake.version("events") == version


def test_a_failed_retraining_keeps_its_rows_and_is_tried_again_warm(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = set(town.lake.read("events")["item_id"].to_pylist())
    news = [event for event in town.later() if event["item_id"] in known][:600]
    town.log([*news, news[0], {"user_id": "nobody"}])
    with monkeypatch.context() as broken:
        broken.setattr(module, "warm_start", failing)
        with pytest.raises(ZeroDivisionError):
            town.collect(min_rows=100)
    mark = read_watermark(watermark_path(town.workspace, "town"))
    assert (mark.seq, mark.learned_version, mark.retraining) == (602, None, None)
    assert len(town.lake.read("events")) == 2_800 + 600
    wanted, opened = EngineConfig(task_cpus=0.5), []
    spied = lambda config: opened.append(config) or open_engine(config)  # noqa: E731
    monkeypatch.setattr(evaluate_holdout, "open_engine", spied)
    found = town.collect(wanted, min_rows=100)
    assert opened == [wanted]
    assert found.intake.n_read == 0
    assert (found.decision.action, found.decision.mode) == ("retrain", "warm")
    assert_succeeded(town, found)


def assert_succeeded(town: Town, found: FeedbackResult) -> None:
    """A second version, judged after both trainings, champion or with reasons; once."""
    promoted, inputs, store = (
        found.promotion,
        found.decision.inputs,
        open_store(town.workspace.mlruns),
    )
    assert promoted is not None
    assert inputs is not None
    assert (promoted.version, promoted.previous) == ("2", "1")
    assert promoted.promoted != bool(promoted.reasons)
    champion = current_champion(store, "town")
    assert champion == ("2" if promoted.promoted else "1")
    assert {"warm_start", "evaluate_holdout", "write_report"} <= set(step_costs(inputs.run_dir))
    mark = read_watermark(watermark_path(Workspace(town.root), "town"))
    assert (mark.learned_version, mark.retraining) == (found.decision.version, None)
    again = town.collect(min_rows=100)
    assert again.decision.action == "nothing"
    assert len(store.client.search_model_versions("name='town'")) == 2


def failing(*_: object) -> str:
    """A training that does not end well."""
    raise ZeroDivisionError
