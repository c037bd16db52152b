"""The lake: once only, versioned, and whole after a kill or a full disk."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from chronotope.contracts.errors import SchemaError, StoreError
from chronotope.contracts.schemas import EVENTS, INSTANT
from chronotope.lake import Lake, store
from chronotope.lake.row_conformance import conform_rows


def events(*ids: str, **extra: list[object]) -> pa.Table:
    n = len(ids)
    return pa.table(
        {
            "event_id": list(ids),
            "user_id": ["u"] * n,
            "item_id": ["i"] * n,
            "event_type": ["view"] * n,
            "occurred_at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * n, INSTANT),
            **extra,
        }
    )


def refused(*payloads: str, run_id: str = "r") -> pa.Table:
    n = len(payloads)
    return pa.table(
        {
            "source": ["s"] * n,
            "reasons": [["bad"]] * n,
            "suite": ["events"] * n,
            "run_id": [run_id] * n,
            "quarantined_at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * n, INSTANT),
            "payload": list(payloads),
            "row": range(n),
        }
    )


def test_first_write_keeps_each_id_once_and_all_columns(tmp_path: Path) -> None:
    counts = Lake(tmp_path).merge_events(events("a", "b", "a", value=[1.0, 2.0, 3.0]))
    assert (counts.inserted, counts.duplicates, counts.version) == (2, 1, 0)
    table = Lake(tmp_path).read("events").sort_by("event_id")
    assert table.column("value").to_pylist() == [1.0, 2.0]
    assert table.column_names == EVENTS.names


@pytest.mark.parametrize("made_by_us", [True, False])
def test_no_version_is_dropped_for_its_age(tmp_path: Path, made_by_us: bool) -> None:
    lake, log = Lake(tmp_path), tmp_path / "events" / "_delta_log"
    if not made_by_us:  # without our configuration
        write_deltalake(tmp_path / "events", conform_rows(events("0"), EVENTS))
    for n in range(4):
        lake.merge_events(events(f"e{n}"))
    often = {"delta.checkpointInterval": "2"}
    DeltaTable(tmp_path / "events").alter.set_table_properties(often)
    for path in log.iterdir():
        os.utime(path, (0, 0))
    for n in range(4, 8):
        lake.merge_events(events(f"e{n}"))
    assert list(log.glob("*.checkpoint.parquet"))
    assert len(lake.read("events", 1)) == 2


def test_a_version_that_somebody_removed_is_said_to_be_gone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for n in range(4):
        lake.merge_events(events(f"e{n}"))
    DeltaTable(tmp_path / "events").create_checkpoint()
    for n in range(3):
        (tmp_path / "events" / "_delta_log" / f"{n:020}.json").unlink()
    assert len(lake.read("events")) == 4
    with pytest.raises(
        StoreError, match=r"Version 1 of table 'events' does not exist any more.*is 3"
    ):
        lake.read("events", 1)


def test_second_delivery_changes_nothing_not_even_the_version(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.merge_events(events("a", "b"))
    again = lake.merge_events(events("b", "a"))
    assert (again.inserted, again.duplicates, again.version) == (0, 2, 0)


def test_late_rows_are_added_and_old_versions_stay(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.merge_events(events("a"))
    assert lake.merge_events(events("a", "b")).version == 1
    assert lake.read("events", version=0, columns=["event_id"]).num_rows == 1
    assert lake.read("events").num_rows == 2


def test_context_columns_may_come_and_go(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.merge_events(events("a"))
    lake.merge_events(events("b", weather=["rain"]))
    lake.merge_events(events("c"))
    table = lake.read("events").sort_by("event_id")
    assert table.column("weather").to_pylist() == [None, "rain", None]


def test_staged_files_merge_in_one_version(tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    pq.write_table(events("a", "b"), tmp_path / "stage" / "0.parquet")
    pq.write_table(events("b", "c"), tmp_path / "stage" / "1.parquet")
    counts = Lake(tmp_path / "lake").merge_events(pads.dataset(tmp_path / "stage"))
    assert (counts.inserted, counts.duplicates, counts.version) == (3, 1, 0)


def test_files_can_be_opened_by_path(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a folder")
    lake.merge_events(events("a"))
    assert sum(pq.read_metadata(path).num_rows for path in lake.files("events")) == 1


def test_a_version_is_streamed_in_the_order_it_is_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for ids in ("ab", "cde", "f"):
        lake.merge_events(events(*ids))
    whole = lake.read("events").column("event_id").to_pylist()
    assert sorted(whole) == list("abcdef")
    keep = np.arange(6) % 2 == 0
    streamed = lake.reader("events", 2, keep).read_all()
    assert streamed.column("event_id").to_pylist() == whole[::2]
    assert lake.reader("events", 1).read_all().num_rows == 5


def test_items_are_updated_only_when_they_differ(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    items = pa.table({"item_id": ["i", "j"], "title": ["old", None]})
    assert [lake.upsert_items(items), lake.upsert_items(items)] == [0, 0]
    assert lake.upsert_items(pa.table({"item_id": ["i", "k"], "title": ["new", "k"]})) == 1
    titles = lake.read("items").sort_by("item_id").column("title").to_pylist()
    assert titles == ["new", None, "k"]


def test_users_gain_attributes(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.upsert_users(pa.table({"user_id": ["u"]}))
    lake.upsert_users(pa.table({"user_id": ["u", "v"], "age": ["45-54", None]}))
    assert lake.read("users").sort_by("user_id").column("age").to_pylist() == ["45-54", None]


def test_quarantine_keeps_equal_rows_but_not_a_second_run_of_the_same(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert lake.quarantine(refused("{}", "{}")) == 2
    assert lake.quarantine(refused("{}", "{}")) == 0
    assert lake.quarantine(refused("{}", run_id="it's another")) == 1
    assert lake.release_quarantine("it's another") == 1
    assert lake.read("quarantine").num_rows == 2


def test_missing_or_null_required_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="user_id"):
        Lake(tmp_path).merge_events(events("a").drop_columns("user_id"))
    nulls = events("a").set_column(1, "user_id", pa.array([None], pa.string()))
    with pytest.raises(SchemaError, match=r"user_id.*nulls"):
        Lake(tmp_path).merge_events(nulls)
    assert not Lake(tmp_path).exists("events")


def test_unwritten_and_unknown_tables_say_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Ingest the dataset first"):
        Lake(tmp_path).version("events")
    with pytest.raises(StoreError, match="no table 'evnets'"):
        Lake(tmp_path).exists("evnets")
    Lake(tmp_path).merge_events(events("a"))
    with pytest.raises(StoreError, match="requested version"):
        Lake(tmp_path).read("events", version=9)


def test_full_disk_leaves_the_previous_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    lake = Lake(tmp_path)
    lake.merge_events(events("a"))
    monkeypatch.setattr(store.DeltaTable, "merge", full)
    with pytest.raises(StoreError, match="disk is full"):
        lake.merge_events(events("b"))
    assert lake.read("events").column("event_id").to_pylist() == ["a"]


KILLED = """
import os, signal, sys, pyarrow as pa, pyarrow.dataset as pads
from pathlib import Path
from chronotope.lake import Lake, store

def dying(rows, schema, keep):
    def batches():
        whole = rows.to_table().cast(schema)
        yield from whole.to_batches()
        os.kill(os.getpid(), signal.SIGKILL)
    return pa.RecordBatchReader.from_batches(schema, batches())

lake = Lake(Path(sys.argv[1]))
late = lake.read("events").to_pandas().assign(event_id=["z", "y"])
store.stream_rows = dying
lake.merge_events(pa.Table.from_pandas(late, preserve_index=False))
"""


def test_kill_in_the_middle_of_a_merge_leaves_the_previous_version(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.merge_events(events("a", "b"))
    died = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", KILLED, str(tmp_path)], check=False, env=dict(os.environ)
    )
    assert died.returncode == -signal.SIGKILL
    assert (lake.version("events"), lake.read("events").num_rows) == (0, 2)
    assert lake.merge_events(events("b", "z")).inserted == 1
