"""Every engine stores the rows of one process: workers, a cluster that loses a node, no folder."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from chronotope.contracts.columns import USER_BUCKET
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.predictions import PREDICTIONS
from chronotope.lake import Interaction, InteractionLog, Lake
from chronotope.lake.bucketed import with_buckets
from chronotope.registry.champion import Champion
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from chronotope.scoring import block_worker, score_blocks
from chronotope.scoring.block_worker import BlockTask
from chronotope.scoring.config import ScoringProgress
from chronotope.scoring.score_users import score_users
from tests.inference.hand_made import LAST_S
from tests.runtime.engine.cluster import two_nodes
from tests.runtime.engine.elsewhere import Elsewhere
from tests.s3 import BUCKET, running_s3
from tests.scoring.crowd import N_USERS, add_events, build_town, config
from tests.serving.town import Town

AT = datetime.fromtimestamp(LAST_S + 3600, UTC)
N_ALL = N_USERS + 4  # those of the hand-made lake, and one who only posted

Item = TypeVar("Item")
Result = TypeVar("Result")


def post_events(root: Path) -> None:
    """Events that are not ingested yet, of a user of the lake and of a new one."""
    interaction_log = InteractionLog(Workspace(root).interactions("city"))
    moment = datetime.fromtimestamp(LAST_S, UTC).isoformat()
    for user_id in ("v01", "new"):
        payload = {"user_id": user_id, "item_id": "i07", "occurred_at": moment}
        interaction_log.append([Interaction(key=f"of {user_id}", kind="event", payload=payload)])
    interaction_log.close()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = build_town(tmp_path)
    post_events(tmp_path)
    yield town
    block_worker.close_workers()


def rows_of(town: Town, engine: object, **settings: object) -> pa.Table:
    told = {"scored_at": AT, "rescore_all": True, "block_users": 7, "engine": engine}
    score_users("city", config(town.root, **(told | settings)), load=town.load)
    return Lake(Workspace(town.root).lake("city")).read("predictions").combine_chunks()


def use_engine(monkeypatch: pytest.MonkeyPatch, engine: object) -> None:
    @contextmanager
    def opened(_: EngineConfig) -> Iterator[object]:
        yield engine

    monkeypatch.setattr(score_blocks, "open_engine", opened)


@pytest.mark.parametrize("kind", ["elsewhere", pytest.param("processes", marks=pytest.mark.slow)])
def test_workers_store_the_same_rows(
    town: Town, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    here = rows_of(town, "local")
    assert len(here) == 5 * N_ALL
    if kind == "elsewhere":
        use_engine(monkeypatch, Elsewhere())
    reports: list[ScoringProgress] = []
    told = {"scored_at": AT, "rescore_all": True, "block_users": 7}
    engine = {"kind": "processes", "n_workers": 2}
    score_users(
        "city", config(town.root, **told, engine=engine), load=town.load, on_progress=reports.append
    )
    assert Lake(Workspace(town.root).lake("city")).read("predictions").combine_chunks() == here
    assert (reports[0].n_done, reports[-1].n_done) == (0, N_ALL)


def test_a_table_that_changed_meanwhile_is_refused(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateEngine(Elsewhere):
        def map(
            self, function: Callable[[Item], Result], items: Iterable[Item]
        ) -> Iterator[Result]:
            renamed = pa.table({"item_id": ["i01"], "title": ["Renamed"]})
            Lake(Workspace(town.root).lake("city")).upsert_items(renamed)
            return super().map(function, items)

    use_engine(monkeypatch, LateEngine())
    with pytest.raises(StoreError, match=r"A table changed .* Received: items"):
        rows_of(town, "processes")
    assert not Lake(Workspace(town.root).lake("city")).exists("predictions")


def test_events_that_came_meanwhile_wait_for_the_next_scoring(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateEngine(Elsewhere):
        def map(
            self, function: Callable[[Item], Result], items: Iterable[Item]
        ) -> Iterator[Result]:
            add_events(town.root, ["v03"], seed=8)
            return super().map(function, items)

    here = rows_of(town, "local")
    use_engine(monkeypatch, LateEngine())
    assert rows_of(town, "processes") == here


def test_a_node_without_the_folder_is_named(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, FolderlessEngine(town.root))
    with pytest.raises(ConfigError, match="A worker does not reach the project's folder"):
        rows_of(town, "processes")


def test_a_model_without_a_folder_needs_the_local_engine(town: Town) -> None:
    def load(root: Path, dataset: str) -> Champion:
        return replace(town.load(root, dataset), folder=None)

    told = config(town.root, engine="processes")
    with pytest.raises(ConfigError, match="Workers cannot open a model that is not in a folder"):
        score_users("city", told, load=load)


class FolderlessEngine(Elsewhere):
    """A node that reaches nothing of the driver's disk."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.absent = root / "absent"

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return super().map(function, (self._moved(item) for item in items))

    def _moved(self, task: Any) -> Any:
        assert isinstance(task, BlockTask)
        told = task.job.config.model_copy(update={"root": self.absent})
        folders = {"staging_dir": self.absent, "bundle_dir": self.absent}
        return replace(task, job=replace(task.job, config=told, **folders))


def partition(town: Town, n_buckets: int) -> None:
    """Partition the events as a lake does that was made in buckets."""
    lake = Lake(Workspace(town.root).lake("city"))
    rows, address = lake.read("events"), lake.address("events")
    shutil.rmtree(address)
    write_deltalake(address, with_buckets(rows, n_buckets), partition_by=[USER_BUCKET])


@pytest.mark.parametrize("kind", ["local", "elsewhere"])
def test_buckets_store_the_same_rows(
    town: Town, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Predictions of users in order; the versions of the tables are others."""
    same = [name for name in PREDICTIONS.names if name not in {"data_version", "scoring_key"}]
    here = rows_of(town, "local", batch_users=1).select(same)
    partition(town, 5)
    if kind == "elsewhere":
        use_engine(monkeypatch, Elsewhere())
    there = rows_of(town, "local", batch_users=1).select(same)
    assert there == here


@pytest.mark.slow
def test_without_a_shared_folder_blocks_travel_through_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_s3() as server:
        for name, value in {**server.environment, LAKE_URL: f"s3://{BUCKET}/shop"}.items():
            monkeypatch.setenv(name, value)
        town = build_town(tmp_path)
        post_events(tmp_path)
        here = rows_of(town, "local")
        use_engine(monkeypatch, FolderlessEngine(town.root))
        assert rows_of(town, "ray") == here
        assert not [key for key in server.keys("shop/city/") if "_scoring" in key]
        block_worker.close_workers()


@pytest.mark.slow
def test_a_killed_node_changes_nothing(town: Town) -> None:
    here = rows_of(town, "local", block_users=1)
    staging = Workspace(town.root).scoring("city")
    with two_nodes() as (cluster, victim), ThreadPoolExecutor(1) as pool:
        engine = {"kind": "ray", "address": cluster.address}
        scored = pool.submit(rows_of, town, engine, block_users=1)
        while len(list(staging.glob("*/block-*.parquet"))) < N_ALL // 4:
            assert not scored.done(), scored.exception()
        cluster.remove_node(victim, allow_graceful=False)
        assert scored.result(300) == here
