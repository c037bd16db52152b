"""What is new is weighed by versions of the lake, beside a champion made by hand."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.data_version import TableVersion
from chronotope.features.build import build_features
from chronotope.features.sources import FeaturesConfig
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import watermark_path
from chronotope.feedback.population_shift import PopulationShift
from chronotope.feedback.retrain_plan import (
    plan_retraining,
    record_retraining_end,
    record_retraining_failure,
    record_retraining_start,
)
from chronotope.feedback.retrain_results import RetrainPlan
from chronotope.feedback.watermark import Watermark, read_watermark, write_watermark
from chronotope.lake import Lake
from chronotope.pipelines.results import RetrainingInputs
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import DAY, LAST_S, register_twice


class City:
    """A lake that grows, and a champion trained until 30 days before LAST_S."""

    def __init__(self, root: Path, n: int = 0) -> None:
        self.workspace = Workspace(root)
        self.lake = Lake(self.workspace.lake("city"))
        self.n = n

    def deliver(
        self, users: list[str], items: list[str], days: np.ndarray[Any, Any]
    ) -> TableVersion:
        """Merge events at days after LAST_S; returns the version."""
        at = pa.array((1e6 * (LAST_S + DAY * days)).astype(np.int64), pa.timestamp("us", tz="UTC"))
        ids = [f"e{self.n + i}" for i in range(len(users))]
        self.n += len(users)
        plain = {"event_id": ids, "user_id": users, "item_id": items, "place_id": items}
        kinds = {"event_type": ["visit"] * len(users), "occurred_at": at}
        self.lake.merge_events(pa.table({**plain, **kinds}))
        return self.lake.table_version("events")

    def weigh(self, **config: Any) -> RetrainPlan:
        version = self.lake.table_version("events")
        ref = build_features(
            self.lake.read("events"), None, config=FeaturesConfig(items_are_places=True),
            out=self.workspace.features("city"), data_version=f"events@{version}",
        )  # fmt: skip
        told = FeedbackConfig.model_validate({"min_rows": 50, "min_compared_rows": 50} | config)
        return plan_retraining("city", ref.path, version, self.workspace, told)

    @property
    def mark(self) -> Watermark:
        return read_watermark(watermark_path(self.workspace, "city"))


def version_of(plan: RetrainPlan) -> TableVersion:
    assert plan.version is not None
    return plan.version


def inputs_of(plan: RetrainPlan) -> RetrainingInputs:
    assert plan.inputs is not None
    return plan.inputs


def shift_of(plan: RetrainPlan) -> PopulationShift:
    assert plan.shift is not None
    return plan.shift


def some(n: int, seed: int, *, names: int = 12, prefix: str = "u") -> list[str]:
    return [f"{prefix}{k:02d}" for k in np.random.default_rng(seed).integers(0, names, n)]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 events over ten days, all of which a training has seen."""
    root = tmp_path_factory.mktemp("settled")
    register_twice(root)
    city = City(root)
    seen = city.deliver(some(400, 1), some(400, 2, prefix="i"), np.linspace(0, 10, 400))
    mark = Watermark(learned_version=seen, learned_at=datetime.now(UTC))
    write_watermark(watermark_path(city.workspace, "city"), mark)
    return root


@pytest.fixture
def city(settled: Path, tmp_path: Path) -> City:
    shutil.copytree(settled, tmp_path / "root")
    return City(tmp_path / "root", 400)


def test_nothing_new_is_nothing_whatever_is_forced(city: City) -> None:
    found = city.weigh(force=True)
    assert (found.action, found.reasons, found.inputs) == ("nothing", ("no new events",), None)
    first = city.lake.table_version("events")
    assert (found.champion, found.learned_version) == ("1", first)
    assert first.number == 0


def test_only_new_users_wait(city: City) -> None:
    city.deliver([f"new{n}" for n in range(80)], some(80, 3, prefix="i"), np.linspace(11, 12, 80))
    found = city.weigh(force=True)
    assert found.action == "wait"
    assert "all new events are of new users" in found.reasons[0]
    assert (shift_of(found).n_new, shift_of(found).n_returning) == (80, 0)


def test_enough_new_events_retrain_in_full_without_the_network(city: City) -> None:
    city.deliver(some(80, 4), some(80, 5, prefix="i"), np.linspace(11, 14, 80))
    found = city.weigh()
    assert (found.action, found.mode) == ("retrain", "full")
    assert "not stored here" in found.reasons[-1]
    assert inputs_of(found).champion_trained_until_s == LAST_S - 30 * DAY
    assert city.weigh(min_rows=100).action == "wait"


def test_a_clock_that_was_ahead_does_not_put_off_a_retraining(city: City) -> None:
    city.deliver(some(40, 4), some(40, 5, prefix="i"), np.linspace(11, 14, 40))
    assert city.weigh().action == "wait"
    ahead = datetime.now(UTC) + timedelta(days=365)
    path = watermark_path(city.workspace, "city")
    write_watermark(path, city.mark.model_copy(update={"learned_at": ahead}))
    assert city.weigh().action == "wait"  # the champion's own date is a right one
    with closing(sqlite3.connect(city.workspace.mlruns / "promotions.db")) as journal, journal:
        journal.execute("UPDATE promotions SET opened_at = ?", (ahead.isoformat(),))
    found = city.weigh()
    assert (found.action, "dated in the future" in found.reasons[0]) == ("retrain", True)
    record_retraining_end(
        "city", version_of(found), city.workspace
    )  # dated now: one retraining is enough
    assert city.weigh().action == "nothing"


def test_a_break_is_held_back_until_it_is_forced(city: City) -> None:
    city.deliver(some(80, 6), ["i00"] * 80, np.linspace(11, 14, 80))  # all at once one item
    found = city.weigh()
    assert (found.action, found.inputs) == ("hold", None)
    assert "items shifted" in found.reasons[0]
    forced = city.weigh(force=True)
    assert forced.action == "retrain"
    assert any("items shifted" in why for why in forced.reasons)


def test_what_has_begun_comes_first_and_what_failed_is_weighed_again(city: City) -> None:
    city.deliver(some(80, 4), some(80, 5, prefix="i"), np.linspace(11, 14, 80))
    found = city.weigh()
    record_retraining_start("city", found, city.workspace)
    city.deliver(some(20, 7), some(20, 8, prefix="i"), np.linspace(15, 16, 20))
    assert city.weigh() == found
    record_retraining_failure("city", city.workspace)
    again = city.weigh()
    version = version_of(again)
    assert (version.number, shift_of(again).n_new) == (2, 100)
    record_retraining_end("city", version, city.workspace)
    assert city.weigh().action == "nothing"
    assert city.mark.retraining is None


def test_what_a_retraining_weighed_starts_no_other_and_still_teaches(city: City) -> None:
    city.deliver(some(80, 4), some(80, 5, prefix="i"), np.linspace(11, 14, 80))
    first = city.weigh()
    record_retraining_end("city", version_of(first), city.workspace)
    assert [city.weigh(force=True).action for _ in range(2)] == ["nothing"] * 2
    city.deliver(some(60, 9), some(60, 10, prefix="i"), np.linspace(15, 17, 60))
    again = city.weigh()
    assert (again.action, shift_of(again).n_new) == ("retrain", 60)
    # the champion knows none of the 540, the newest tenth judges
    assert [why for why in again.reasons if why.startswith("486 new training events")]


def test_what_has_begun_is_dropped_once_somebody_else_reigns(city: City) -> None:
    city.deliver(some(80, 4), some(80, 5, prefix="i"), np.linspace(11, 14, 80))
    found = city.weigh()
    record_retraining_start("city", found, city.workspace)
    store = open_store(city.workspace.mlruns)
    promote(store, "city", "2", expected_champion="1", key="by hand", reason="by hand")
    again = city.weigh()
    assert (found.champion, again.champion, again.action) == ("1", "2", "retrain")
    assert city.mark.retraining is None
    other_run = inputs_of(found).model_copy(
        update={"run_dir": city.workspace.runs("city") / "unknown"}
    )
    mine = found.model_copy(update={"inputs": other_run})
    record_retraining_start("city", mine, city.workspace)  # killed after its own promotion
    assert city.weigh() == mine


def test_in_another_lake_every_event_is_new(city: City) -> None:
    """The folder of the events is deleted, and other people's rows get the same numbers."""
    city.deliver(some(80, 4), some(80, 5, prefix="i"), np.linspace(11, 14, 80))
    begun = city.weigh()
    record_retraining_start("city", begun, city.workspace)
    shutil.rmtree(city.lake.address("events"))
    city.deliver(some(300, 6), some(300, 7, prefix="i"), np.linspace(0, 9, 300))
    city.deliver(some(50, 8), some(50, 9, prefix="i"), np.linspace(10, 12, 50))
    found = city.weigh()
    assert version_of(found).number == version_of(begun).number
    assert (found.learned_version, shift_of(found).n_new) == (None, 350)
    assert city.mark.retraining is None
