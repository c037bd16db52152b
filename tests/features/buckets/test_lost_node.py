"""A raylet that is killed while noise is filtered or tables are built changes nothing."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chronotope.features.build import build_features
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import NoiseConfig
from chronotope.lake import Lake
from chronotope.pipelines.snapshots import selected_events
from chronotope.runtime.engine import Engine, EngineConfig, LocalEngine, open_engine
from tests.features.buckets.bucketed_lake import lake_in_buckets, random_log
from tests.runtime.engine.cluster import SHAPE, two_nodes

pytestmark = pytest.mark.slow
DEADLINE_S = 120


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as (cluster, _):
        yield cluster


@dataclass(frozen=True)
class NotedTask:
    """A task that notes its node and process, and waits before it ends until it may go on."""

    function: Callable[[Any], Any]
    folder: Path
    task_name: str

    def __call__(self, item: Any) -> Any:
        import ray

        result = self.function(item)
        if type(self.function).__name__ != self.task_name:
            return result
        node_id = ray.get_runtime_context().get_node_id()
        (self.folder / f"{node_id}-{os.getpid()}").touch()
        until = time.monotonic() + DEADLINE_S
        while not (self.folder / "go").exists() and time.monotonic() < until:
            time.sleep(0.05)
        return result


@dataclass(frozen=True)
class NotedEngine:
    """An engine whose tasks are noted."""

    engine: Engine
    folder: Path
    task_name: str
    in_process = False

    def map(self, function: Callable[[Any], Any], items: Any) -> Any:
        return self.engine.map(NotedTask(function, self.folder, self.task_name), items)


def snapshot_files(engine: Engine, lake: Lake, out: Path) -> dict[str, bytes]:
    noise = NoiseConfig(max_speed_km_h=3, min_events=2)
    version = lake.table_version("events")
    with selected_events(engine, lake, version, noise, (), out) as selection:
        assert selection.noise.dropped["core"]
        ref = build_features(
            selection.events, None, config=FeaturesConfig(), out=out, engine=engine
        )
    return {path.name: path.read_bytes() for path in ref.path.iterdir()}


def wait_until(is_true: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("task_name", ["SelectionTask", "CoreTask", "BucketTablesTask"])
def test_a_raylet_killed_during_features_changes_nothing(
    cluster: Any, tmp_path: Path, task_name: str
) -> None:
    """Its tasks have written their tables, but not said so; they run again elsewhere."""
    lake = lake_in_buckets(tmp_path / "lake", random_log(2_000), 6)
    notes = tmp_path / "notes"
    notes.mkdir()
    victim = cluster.add_node(**SHAPE)
    config = EngineConfig(kind="ray", address=cluster.address)
    with open_engine(config) as engine, ThreadPoolExecutor(1) as pool:
        noted = NotedEngine(engine, notes, task_name)
        built = pool.submit(snapshot_files, noted, lake, tmp_path / "elsewhere")
        wait_until(lambda: any(notes.glob(f"{victim.node_id}-*")))
        worker_id = next(notes.glob(f"{victim.node_id}-*")).name.rpartition("-")[2]
        cluster.remove_node(victim, allow_graceful=False)
        wait_until(lambda: not Path(f"/proc/{worker_id}").exists())
        (notes / "go").touch()
        files = built.result(DEADLINE_S)
    assert files == snapshot_files(LocalEngine(), lake, tmp_path / "here")
