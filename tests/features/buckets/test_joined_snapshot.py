"""The snapshot of a lake in buckets is that of the same events without, to the last byte."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from chronotope.contracts.errors import ConfigError, NotEnoughData, StoreError
from chronotope.contracts.schemas import INSTANT
from chronotope.features import build, table_files
from chronotope.features.buckets import bucket_tables, joined_events, joined_snapshot
from chronotope.features.build import FeatureRef, build_features
from chronotope.features.sources import FeaturesConfig
from chronotope.runtime.engine import EngineConfig, LocalEngine, open_engine
from chronotope.runtime.engine.protocol import Engine
from tests.features.buckets.bucketed_lake import lake_in_buckets, random_log, whole_buckets

ITEMS = pa.table(
    {
        "item_id": [f"i{n}" for n in range(0, 900, 3)],
        "category": [None if n % 2 else f"c{n % 7}" for n in range(300)],
        "title": [f"Item {n}" for n in range(300)],
        "lat": [48.0 if n % 5 else None for n in range(300)],
        "lon": [16.0] * 300,
    }
)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return random_log()


@pytest.fixture(scope="module")
def workers() -> Iterator[Engine]:
    with open_engine(EngineConfig(kind="processes", n_workers=2)) as engine:
        yield engine


def file_bytes(ref: FeatureRef) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in ref.path.iterdir()}


def readings() -> pa.Table:
    us = np.arange(0, 200_000, 500) * 10**6
    columns = {
        "event_id": [str(n) for n in range(len(us))],
        "occurred_at": pa.array(us).cast(INSTANT),
        "valid_until": pa.array(us + 400 * 10**6).cast(INSTANT),
        "place_id": [None if n % 3 else f"p{n % 40}" for n in range(len(us))],
        "rain_mm": np.linspace(0, 9, len(us)),
    }
    return pa.table(columns)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"items_are_places": True},
        {"context": ("quantity",), "event_types": ("type1",)},
        {"context_table": ("rain_mm",)},
    ],
    ids=["events_have_places", "items_are_places", "context_of_one_type", "context_table"],
)
def test_buckets_do_not_change_the_snapshot(
    rows: pa.Table, tmp_path: Path, settings: dict[str, Any]
) -> None:
    options: dict[str, Any] = {
        "config": FeaturesConfig(**settings),
        "readings": readings() if "context_table" in settings else None,
    }
    plain = build_features(rows, ITEMS, out=tmp_path / "plain", **options)
    for n_buckets in (2, 16):
        lake = lake_in_buckets(tmp_path / f"lake{n_buckets}", rows, n_buckets)
        out = tmp_path / f"out{n_buckets}"
        joined = build_features(whole_buckets(lake), ITEMS, out=out, **options)
        assert file_bytes(joined) == file_bytes(plain)
        assert [path.name for path in out.iterdir()] == [plain.digest]


def test_worker_processes_build_the_same_snapshot(
    rows: pa.Table, tmp_path: Path, workers: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined_snapshot, "_MAX_COUNTS", 500)  # several tasks sum up counts
    monkeypatch.chdir(tmp_path)  # relative paths are absolute for the workers
    lake = lake_in_buckets(Path("lake"), rows, 4)
    refs = [
        build_features(
            whole_buckets(lake), None, config=FeaturesConfig(), out=Path(name), engine=engine
        )
        for name, engine in (("here", None), ("elsewhere", workers))
    ]
    assert file_bytes(refs[0]) == file_bytes(refs[1])
    plain = build_features(rows, None, config=FeaturesConfig(), out=tmp_path / "plain")
    assert refs[0].digest == plain.digest


def test_few_users_leave_buckets_empty(rows: pa.Table, tmp_path: Path) -> None:
    few = rows.filter(pc.is_in(rows["user_id"], pa.array(["u1", "u7"])))
    lake = lake_in_buckets(tmp_path / "lake", few, 16)
    joined = build_features(
        whole_buckets(lake), None, config=FeaturesConfig(), out=tmp_path / "joined"
    )
    plain = build_features(few, None, config=FeaturesConfig(), out=tmp_path / "plain")
    assert joined.digest == plain.digest


def test_row_groups_are_those_of_a_log_without_buckets(
    rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (build, table_files, joined_events):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 2048)
    monkeypatch.setattr(bucket_tables, "BATCH_ROWS", 2048)
    many = pa.concat_tables([rows, rows, rows])  # batches end inside row groups
    plain = build_features(many, None, config=FeaturesConfig(), out=tmp_path / "plain")
    lake = lake_in_buckets(tmp_path / "lake", many, 3)
    joined = build_features(
        whole_buckets(lake), None, config=FeaturesConfig(), out=tmp_path / "joined"
    )
    assert joined.digest == plain.digest


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"event_types": ("refund",)}, NotEnoughData),
        ({"context": ("event_type",)}, ConfigError),
    ],
    ids=["no_events", "context_of_texts"],
)
def test_errors_are_those_without_buckets(
    rows: pa.Table, tmp_path: Path, settings: dict[str, Any], error: type[Exception]
) -> None:
    lake = lake_in_buckets(tmp_path / "lake", rows, 2)
    config = FeaturesConfig(**settings)
    with pytest.raises(error):
        build_features(whole_buckets(lake), None, config=config, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_does_not_fit_in_memory_or_on_disk_is_an_error(
    rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined_snapshot, "BUCKET_MEMORY", "1MiB")
    lake = lake_in_buckets(tmp_path / "lake", rows, 2)
    with pytest.raises(StoreError, match=r"(?s)in 1MiB of memory.*Free disk"):
        build_features(whole_buckets(lake), None, config=FeaturesConfig(), out=tmp_path / "out")


def killed_after(n_tasks: int) -> Callable[..., Any]:
    """An engine's map that ends with an error after some tasks, as a killed process does."""

    def killed_map(function: Callable[[Any], Any], items: Any) -> Iterator[Any]:
        for task_idx, item in enumerate(items):
            if task_idx == n_tasks:
                raise KeyboardInterrupt
            yield function(item)

    return killed_map


def test_an_interrupted_build_leaves_nothing_and_is_built_again(
    rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_in_buckets(tmp_path / "lake", rows, 4)
    options: dict[str, Any] = {"config": FeaturesConfig(), "out": tmp_path / "out"}
    with monkeypatch.context() as patched:
        patched.setattr(LocalEngine, "map", staticmethod(killed_after(2)))
        with pytest.raises(KeyboardInterrupt):
            build_features(whole_buckets(lake), None, **options)
    assert list((tmp_path / "out").iterdir()) == []
    joined = build_features(whole_buckets(lake), None, **options)
    plain = build_features(rows, None, config=FeaturesConfig(), out=tmp_path / "plain")
    assert joined.digest == plain.digest
