"""A city ingested into an object store gives the features that a folder gives, byte for byte."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.data_version import DataVersion
from chronotope.lake import Lake
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from flows.ingest_events import IngestSettings, write_events, write_features, write_tables
from tests.s3 import BUCKET, S3, SECRET, running_s3

CITY = """
name: town
description: A small simulated city.
licence: CC0-1.0
items_are_places: true
city: {n_events: 3000, n_users: 40, n_items: 50, days: 60, seed: 7}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with running_s3() as server:
        yield server


def told(root: Path) -> tuple[str, IngestSettings]:
    settings = IngestSettings(root=root, data_docs=False, batch_rows=1000)
    return str(root / "town.yaml"), settings


def ingested(root: Path) -> dict[str, Any]:
    root.mkdir()
    (root / "town.yaml").write_text(CITY, encoding="utf-8")
    write_tables.fn(*told(root))
    return {"events": write_events.fn(*told(root)), "features": write_features.fn(*told(root))}


@pytest.mark.slow
def test_twice_into_a_store_is_once_and_features_are_those_of_a_folder(
    tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    local, theirs = ingested(tmp_path / "folder"), tmp_path / "store"
    for name, value in {**server.environment, LAKE_URL: f"s3://{BUCKET}/lakes"}.items():
        monkeypatch.setenv(name, value)
    first, again = ingested(theirs), write_events.fn(*told(theirs))

    lake = Lake(Workspace(theirs).lake("town"))
    assert lake.root == f"s3://{BUCKET}/lakes/town"
    assert not (theirs / "data" / "lake").exists()
    assert len(lake.read("events")) == first["events"].n_good == local["events"].n_good
    assert again.n_duplicates == again.n_good == first["events"].n_good
    versions = [DataVersion.parse(of["features"].data_version) for of in (first, local)]
    assert versions[0].events.number == versions[1].events.number
    assert versions[0] != versions[1]  # two tables, though their rows are equal
    assert first["features"].digest != local["features"].digest
    assert contents(first) == contents(local)
    assert SECRET not in f"{first} {caplog.text}"


def contents(found: dict[str, Any]) -> dict[str, bytes]:
    folder = found["features"].path
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
