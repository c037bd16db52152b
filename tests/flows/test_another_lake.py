"""Another lake under the same path, with the same version numbers, is other data."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.data_version import DataVersion
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.pipelines.run_dir import training_run_dir
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from flows.ingest_events import IngestSettings, write_events, write_features, write_tables
from tests.s3 import BUCKET, S3, running_s3

CITY = """
name: town
description: A small simulated city.
licence: CC0-1.0
items_are_places: true
city: {{n_events: {n_events}, n_users: 20, n_items: 30, days: 40, seed: {seed}}}
"""


def ingested(root: Path, *, n_events: int, seed: int = 1) -> dict[str, Any]:
    """Features of the town, and the folder of a training on them."""
    root.mkdir(exist_ok=True)
    spec, settings = root / "town.yaml", IngestSettings(root=root, data_docs=False)
    spec.write_text(CITY.format(n_events=n_events, seed=seed), encoding="utf-8")
    write_tables.fn(str(spec), settings)
    write_events.fn(str(spec), settings)
    features = dict(write_features.fn(str(spec), settings))
    run = training_run_dir(Path(features["path"]), "town", TrainSettings(root=root))
    return {**features, "run": run, "numbers": numbers(features["data_version"])}


def numbers(data_version: str) -> list[tuple[str, int]]:
    return [(name, version.number) for name, version in DataVersion.parse(data_version).tables]


def n_loaded(features: dict[str, Any]) -> int:
    log, _ = load_features(Path(features["path"]))
    return len(log)


def assert_other_data(old: dict[str, Any], new: dict[str, Any], n_events: int) -> None:
    assert new["numbers"] == old["numbers"]
    for name in ("data_version", "digest", "run"):
        assert new[name] != old[name]
    assert n_loaded(new) == new["n_kept"] <= n_events


def test_a_deleted_lake_that_is_filled_again_gets_its_own_features(tmp_path: Path) -> None:
    old = ingested(tmp_path, n_events=2_000)
    assert ingested(tmp_path, n_events=2_000)["digest"] == old["digest"]  # twice is once
    shutil.rmtree(tmp_path / "data" / "lake" / "town")
    new = ingested(tmp_path, n_events=1_000, seed=2)
    assert_other_data(old, new, 1_000)
    assert len(Lake(tmp_path / "data" / "lake" / "town").read("events")) == new["n_events"]


def test_a_copied_root_keeps_its_features_and_its_run(tmp_path: Path) -> None:
    old = ingested(tmp_path / "one", n_events=1_000)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    new = ingested(tmp_path / "two", n_events=1_000)
    same = ("data_version", "digest")
    assert [new[name] for name in same] == [old[name] for name in same]
    assert new["run"].name == old["run"].name


@pytest.fixture
def server() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.mark.slow
def test_a_prefix_of_an_object_store_that_is_filled_again_gets_its_own_features(
    tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3", reason="needs boto3: the extra `scale`")
    for name, value in {**server.environment, LAKE_URL: f"s3://{BUCKET}/lakes"}.items():
        monkeypatch.setenv(name, value)
    old = ingested(tmp_path, n_events=2_000)
    store = boto3.client("s3", endpoint_url=server.environment["AWS_ENDPOINT_URL"])
    for key in server.keys("lakes/"):
        store.delete_object(Bucket=BUCKET, Key=key)
    new = ingested(tmp_path, n_events=1_000, seed=2)
    assert Workspace(tmp_path).lake("town") == f"s3://{BUCKET}/lakes/town"
    assert_other_data(old, new, 1_000)
