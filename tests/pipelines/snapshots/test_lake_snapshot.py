"""A dataset's snapshot does not depend on the buckets of its lake, nor on the engine."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from chronotope.datasets.loading import load_spec
from chronotope.datasets.spec import DatasetSpec
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import NoiseConfig
from chronotope.pipelines.results import FeatureSnapshot
from chronotope.pipelines.snapshots import build_lake_snapshot
from chronotope.runtime.engine import EngineConfig
from tests.features.buckets.bucketed_lake import lake_in_buckets, random_log

SPEC = """
name: town
description: Events at random.
licence: CC0-1.0
event_type: view
city: {n_events: 1000, n_users: 10, n_items: 10}
"""
NOISE = NoiseConfig(max_speed_km_h=3, min_events=2)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> DatasetSpec:
    path = tmp_path_factory.mktemp("conf") / "town.yaml"
    path.write_text(SPEC)
    return load_spec(str(path))


@pytest.fixture(scope="module")
def plain(spec: DatasetSpec, tmp_path_factory: pytest.TempPathFactory) -> FeatureSnapshot:
    folder = tmp_path_factory.mktemp("plain")
    lake = lake_in_buckets(folder / "lake", random_log(2_000), 1)
    return build_lake_snapshot(spec, lake, NOISE, ["0" * 32], folder / "out", EngineConfig())


def tables(snapshot: FeatureSnapshot) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in snapshot.path.glob("*.parquet")}


@pytest.mark.parametrize(
    ("n_buckets", "kind"), [(4, "local"), (16, "local"), (4, "processes")], ids=str
)
def test_buckets_and_engine_do_not_change_the_snapshot(
    spec: DatasetSpec, plain: FeatureSnapshot, tmp_path: Path, n_buckets: int, kind: str
) -> None:
    lake = lake_in_buckets(tmp_path / "lake", random_log(2_000), n_buckets)
    engine = EngineConfig.model_validate({"kind": kind, "n_workers": 2})
    out = tmp_path / "out"
    snapshot = build_lake_snapshot(spec, lake, NOISE, ["0" * 32], out, engine)
    assert tables(snapshot) == tables(plain)
    identity = {"path", "digest", "data_version"}  # of the table version, which is another
    assert snapshot.model_dump(exclude=identity) == plain.model_dump(exclude=identity)
    assert plain.dropped["core"] > 0
    again = build_lake_snapshot(spec, lake, NOISE, ["0" * 32], out, EngineConfig())
    assert again == snapshot
    assert list(out.iterdir()) == [snapshot.path]


def test_a_lake_without_buckets_keeps_its_digest_and_starts_no_cluster(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snapshots that were built before there were buckets are used again."""
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    lake = lake_in_buckets(tmp_path / "lake", random_log(500), 1)
    out, engine = tmp_path / "out", EngineConfig(kind="ray")
    snapshot = build_lake_snapshot(spec, lake, NoiseConfig(), [], out, engine)
    key = f"{snapshot.data_version},noise={NoiseConfig().model_dump_json()}"
    settings = FeaturesConfig().model_dump(mode="json", exclude={"item_context"})
    digest_input = json.dumps([2, settings, key], sort_keys=True)
    assert snapshot.digest == hashlib.sha256(digest_input.encode()).hexdigest()[:16]
