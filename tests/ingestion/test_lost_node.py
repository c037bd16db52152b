"""A raylet is killed while an ingestion reads, and another while it compares ids."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pytest

from chronotope.runtime.engine import Engine, EngineConfig, open_engine
from tests.ingestion.test_source_ingestion import (
    in_order,
    in_parts,
    json_lines,
    parquet_files,
    stored,
)
from tests.runtime.engine.cluster import SHAPE, two_nodes

pytestmark = pytest.mark.slow
Item = TypeVar("Item")
Result = TypeVar("Result")


class FailingCluster:
    """Engine on two nodes, the second of which is killed after the first result of each map."""

    in_process = False

    def __init__(self, engine: Engine, cluster: Any, node: Any) -> None:
        self.engine, self.cluster, self.node, self.n_lost = engine, cluster, node, 0

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        if self.node is None:
            self.node = self.cluster.add_node(**SHAPE)
            self.cluster.wait_for_nodes()
        for result in self.engine.map(function, items):
            if self.node is not None:
                self.cluster.remove_node(self.node, allow_graceful=False)
                self.node, self.n_lost = None, self.n_lost + 1
            yield result


def test_lost_nodes_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    spec = parquet_files(tmp_path / "source").model_copy(update={"user_buckets": 4})
    expected, _, lake = in_order(spec, tmp_path / "order")
    with two_nodes() as (cluster, node):
        config = EngineConfig(kind="ray", address=cluster.address)
        with open_engine(config) as engine:
            failing = FailingCluster(engine, cluster, node)
            done, _, part_lake = in_parts(spec, tmp_path / "ray", failing)
            (tmp_path / "lines").mkdir()
            lines = json_lines(tmp_path / "lines").model_copy(update={"user_buckets": 4})
            again, _, _ = in_parts(lines, tmp_path / "ray", failing)  # the same events
    assert failing.n_lost == 4
    assert done.n_good + done.n_quarantined == done.n_read == expected.n_read
    differing = {"findings": None}
    assert asdict(done) | differing == asdict(expected) | differing
    assert stored(part_lake, "events", "event_id") == stored(lake, "events", "event_id")
    assert again.n_duplicates == again.n_good == expected.n_good
    assert part_lake.version("events") == 0
    assert not list((tmp_path / "ray").glob(".staging*"))
