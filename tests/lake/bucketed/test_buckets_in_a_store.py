"""Tables with buckets in an object store, over HTTP of a real server."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.ingestion.source_ingestion import ingest_source
from chronotope.lake import Lake
from chronotope.lake.bucketed import bucket_commit
from chronotope.lake.bucketed.rebucket import rebucket_events
from chronotope.lake.erase_rows import erase_rows
from chronotope.pipelines.ingest_checks import shared_check
from chronotope.runtime.engine import EngineConfig, LocalEngine, open_engine
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from tests.ingestion.test_source_ingestion import SUITES, in_parts, parquet_files
from tests.lake.bucketed.test_deliveries import deliver, log, rows_of
from tests.lake.test_staged_batch import ids
from tests.s3 import BUCKET, S3, running_s3

_numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.fixture
def lake(server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    address = f"s3://{BUCKET}/parted-{next(_numbers)}"
    for name, value in {**server.environment, LAKE_URL: address}.items():
        monkeypatch.setenv(name, value)
    return Lake(Workspace(tmp_path).lake("city"))


def keys(lake: Lake, server: S3) -> set[str]:
    """Data files of the store, below the table."""
    prefix = f"{lake.root}/events/".removeprefix(f"s3://{BUCKET}/")
    names = (key.removeprefix(prefix) for key in server.keys(prefix))
    return {name for name in names if not name.startswith("_delta_log")}


def named(lake: Lake) -> set[str]:
    uris = [uri for bucket in range(lake.n_buckets()) for uri in lake.bucket_files(bucket)]
    return {uri.removeprefix(f"{lake.root}/events/") for uri in uris}


def test_buckets_in_a_store_hold_what_a_folder_would_hold(
    lake: Lake, server: S3, tmp_path: Path
) -> None:
    local = Lake(tmp_path / "local")
    for batches in ((log(0, 20), log(15, 30)), (log(25, 40, n=1),), (log(0, 40),), (log(38, 44),)):
        counts, expected = deliver(lake, *batches), deliver(local, *batches)
        assert (counts.inserted, counts.version) == (expected.inserted, expected.version)
        assert rows_of(lake) == rows_of(local)
    assert lake.n_buckets() == 4
    assert keys(lake, server) == named(lake)
    rebucket_events(lake, 2)
    assert (lake.n_buckets(), rows_of(lake)) == (2, rows_of(local))
    assert len(lake.read("events", 1)) == 40
    assert erase_rows(lake, "events", "user_id", ["u1"]) == 5
    assert keys(lake, server) == named(lake)


def test_a_delivery_that_fails_leaves_no_object(
    lake: Lake, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(lake, log(0, 20))
    before = keys(lake, server)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DeltaTable, "create_write_transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deliver(lake, log(20, 40))
    assert keys(lake, server) == before


def test_who_comes_second_compares_the_new_files(
    lake: Lake, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = bucket_commit._commit_parts
    deliver(lake, log(0, 20))

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(bucket_commit, "_commit_parts", commit)
        assert deliver(lake, log(15, 30)).inserted == 10
        commit(*arguments)

    monkeypatch.setattr(bucket_commit, "_commit_parts", late)
    assert deliver(lake, log(18, 40)).inserted == 10
    assert len(set(ids(lake))) == len(ids(lake)) == 40
    assert keys(lake, server) == named(lake)


def test_workers_of_an_engine_write_to_the_store(lake: Lake, server: S3, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    spec = parquet_files(tmp_path / "source").model_copy(update={"user_buckets": 3})
    expected, _, local = in_parts(spec, tmp_path / "local", LocalEngine())
    staging, source_report = tmp_path / "staging", SourceReport()
    with open_engine(EngineConfig(kind="processes", n_workers=2)) as engine:
        done = ingest_source(
            spec,
            lake=lake,
            engine=engine,
            prepare_check=partial(shared_check, lake, SUITES),
            batch_rows=1_000,
            source_report=source_report,
            shared_dir=staging,
        )
    assert (done.n_read, done.n_good, done.n_quarantined) == (
        expected.n_read,
        expected.n_good,
        expected.n_quarantined,
    )
    assert rows_of(lake) == rows_of(local)
    assert keys(lake, server) == named(lake)
    assert list(staging.iterdir()) == []
