"""A delivery lands whole or not at all: a kill or a full disk leaves the previous version."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.contracts.errors import SchemaError, StoreError
from chronotope.contracts.schemas import EVENTS
from chronotope.lake import Lake, MergeCounts

AT = datetime(2024, 1, 1, tzinfo=UTC)


def events(ids: str, **extra: object) -> pa.Table:
    same = {"user_id": "u", "item_id": "i", "event_type": "view", "occurred_at": AT}
    table = pa.Table.from_pylist([same | {"event_id": each} for each in ids], schema=EVENTS)
    for name, value in extra.items():
        table = table.append_column(name, pa.array([value] * len(ids)))
    return table


def deliver(lake: Lake, *batches: pa.Table) -> MergeCounts:
    with lake.delivery() as delivery:
        for batch in batches:
            delivery.add(batch)
        return lake.merge_delivery(delivery)


def ids(lake: Lake) -> list[str]:
    return sorted(lake.read("events", columns=["event_id"]).column(0).to_pylist())


@contextmanager
def disk_of(n_bytes: int) -> Iterator[None]:
    """Every file may grow to so many bytes, then the system refuses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_first_and_later_deliveries_keep_the_first_row_of_each_id(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = deliver(lake, events("ab", n=1), events("bcc", n=2), events("d", n=3))
    assert (first.inserted, first.duplicates, first.version) == (4, 2, 0)
    again = deliver(lake, events("ce"), events("e"))
    assert (again.inserted, again.duplicates, again.version) == (1, 2, 1)
    rows = lake.read("events").sort_by("event_id").select(["event_id", "n"]).to_pydict()
    assert rows == {"event_id": list("abcde"), "n": [1, 1, 2, 3, None]}


def test_the_last_version_tells_what_it_brought(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, events("abc"))
    assert lake.n_added_rows("events") == 3
    deliver(lake, events("cd"))
    assert lake.n_added_rows("events") == 1


def test_columns_may_come_in_a_later_batch_but_keep_their_type(tmp_path: Path) -> None:
    deliver(Lake(tmp_path), events("a"), events("b", weather="rain"))
    table = Lake(tmp_path).read("events").sort_by("event_id")
    assert table.column("weather").to_pylist() == [None, "rain"]
    with pytest.raises(SchemaError, match="different types"):
        deliver(Lake(tmp_path), events("c", weather="rain"), events("d", weather=1.5))


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, events("ab"))
    with pytest.raises(SchemaError), lake.delivery() as delivery:
        delivery.add(events("c").drop_columns("user_id"))
    assert [path.name for path in tmp_path.iterdir()] == ["events"]


def test_a_disk_that_fills_up_while_staging_says_what_to_do(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, events("a"))
    with disk_of(1000), pytest.raises(StoreError, match="The disk is full"):
        deliver(lake, events("bc"))
    assert (ids(lake), [path.name for path in tmp_path.iterdir()]) == (["a"], ["events"])
    assert deliver(lake, events("bc")).inserted == 2


def test_a_disk_that_fills_up_at_the_first_commit_leaves_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chronotope.lake.staged_batch.create_table_with_add_actions", full)
    with pytest.raises(StoreError, match="The disk is full"):
        deliver(Lake(tmp_path), events("a"))
    assert not Lake(tmp_path).exists("events")
    assert not list((tmp_path / "events").iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from chronotope.lake import Lake, staged_batch
sys.path.insert(0, sys.argv[3])
from test_staged_batch import deliver, events

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(staged_batch, sys.argv[2], die)
deliver(Lake(Path(sys.argv[1])), events("xy"))
"""


@pytest.mark.parametrize("moment", ["write_rows", "_added", "create_table_with_add_actions"])
def test_a_kill_in_the_first_delivery_leaves_no_table_and_bars_no_way(
    tmp_path: Path, moment: str
) -> None:
    assert killed(tmp_path, moment) == -signal.SIGKILL
    assert not Lake(tmp_path).exists("events")
    assert deliver(Lake(tmp_path), events("ab")).inserted == 2
    assert ids(Lake(tmp_path)) == ["a", "b"]


def test_a_kill_while_staging_leaves_the_previous_version(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, events("ab"))
    assert killed(tmp_path, "write_rows") == -signal.SIGKILL
    assert (lake.version("events"), ids(lake)) == (0, ["a", "b"])
    (left,) = tmp_path.glob(".staging-*")
    long_ago = time.time() - 2 * 86_400
    os.utime(left, (long_ago, long_ago))
    assert deliver(lake, events("bx")).inserted == 1
    assert not left.exists()


def killed(root: Path, moment: str) -> int:
    script = [sys.executable, "-c", KILLED, str(root), moment, str(Path(__file__).parent)]
    return subprocess.run(script, check=False).returncode  # noqa: S603 - our own interpreter
