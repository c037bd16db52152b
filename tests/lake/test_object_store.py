"""A lake in an object store, asked over HTTP of a real server: whole, once, and nobody lost."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest

from chronotope.contracts.errors import SchemaError, StoreError
from chronotope.lake import Lake, store
from chronotope.lake.listing import list_datasets
from chronotope.lake.version_poller import VersionPoller
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from tests.lake.test_staged_batch import deliver, events, ids
from tests.s3 import BUCKET, S3, SECRET, running_s3

PROJECT = Path(__file__).parents[2]
_numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.fixture
def lakes(server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix, named by the environment."""
    address = f"s3://{BUCKET}/{next(_numbers)}"
    for name, value in {**server.environment, LAKE_URL: f"{address}/"}.items():
        monkeypatch.setenv(name, value)
    return address


@pytest.fixture
def lake(lakes: str, tmp_path: Path) -> Lake:
    return Lake(Workspace(tmp_path).lake("city"))


def test_the_environment_names_the_place(lake: Lake, lakes: str, tmp_path: Path) -> None:
    assert lake.root == f"{lakes}/city"
    assert list_datasets(Workspace(tmp_path).lakes()) == ()
    deliver(lake, events("a"))
    assert list_datasets(Workspace(tmp_path).lakes()) == ("city",)
    assert not list(tmp_path.iterdir())


def test_deliveries_keep_the_first_row_of_each_id(lake: Lake) -> None:
    assert not lake.exists("events")
    first = deliver(lake, events("ab", n=1), events("bcc", n=2), events("d", n=3))
    assert (first.inserted, first.duplicates, first.version) == (4, 2, 0)
    again = deliver(lake, events("ce"), events("e"))
    assert (again.inserted, again.duplicates, again.version) == (1, 2, 1)
    rows = lake.read("events").sort_by("event_id").select(["event_id", "n"]).to_pydict()
    assert rows == {"event_id": list("abcde"), "n": [1, 1, 2, 3, None]}
    assert (lake.n_added_rows("events"), len(lake.read("events", 0))) == (1, 4)


def test_a_delivery_that_fails_leaves_no_object_and_no_staged_file(
    lake: Lake, server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SchemaError), lake.delivery() as delivery:
        delivery.add(events("c").drop_columns("user_id"))
    assert server.keys(str(lake.root).removeprefix(f"s3://{BUCKET}/")) == []
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import os, signal, sys
from chronotope.lake import Lake, merge_conditions, staged_batch, store
from tests.lake.test_staged_batch import deliver, events

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

root, module, name, batches = sys.argv[1:]
if name:
    modules = {"staged_batch": staged_batch, "store": store, "creation": merge_conditions}
    setattr(modules[module], name, die)
print("ready", flush=True)
if not name:
    sys.stdin.readline()
for letters in batches.split():
    deliver(Lake(root), events(letters))
"""


def begun(lake: Lake, module: str, name: str, batches: str) -> "subprocess.Popen[str]":
    """Deliver in a process of its own, that dies where ``name`` is called."""
    path = os.pathsep.join((str(PROJECT / "components"), str(PROJECT)))
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", SCRIPT, str(lake.root), module, name, batches],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("module", "name"), [("staged_batch", "write_rows"), ("store", "open_merge")]
)
def test_a_kill_leaves_the_previous_version_and_bars_no_way(
    lake: Lake, module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    deliver(lake, events("ab"))
    process = begun(lake, module, name, "xy")
    assert (process.communicate(timeout=120)[0], process.returncode) == ("ready\n", -signal.SIGKILL)
    assert (lake.version("events"), ids(lake)) == (0, ["a", "b"])
    (left,) = tmp_path.iterdir()
    long_ago = time.time() - 2 * 86_400
    os.utime(left, (long_ago, long_ago))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert deliver(lake, events("bx")).inserted == 1
    assert not list(tmp_path.iterdir())


def test_a_kill_in_the_first_delivery_leaves_no_table(lake: Lake) -> None:
    process = begun(lake, "creation", "write_deltalake", "xy")
    process.communicate(timeout=120)
    assert (process.returncode, lake.exists("events")) == (-signal.SIGKILL, False)
    assert deliver(lake, events("ab")).inserted == 2


def test_a_kill_while_objects_are_written_leaves_a_whole_version(lake: Lake, server: S3) -> None:
    deliver(lake, events("ab"))
    process = begun(lake, "staged_batch", "", "xy")
    process.stdin.write("go\n")  # type: ignore[union-attr]
    process.stdin.flush()  # type: ignore[union-attr]
    until = time.monotonic() + 120
    while len(server.keys(f"{lake.root}/events/part-".removeprefix(f"s3://{BUCKET}/"))) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
    process.kill()
    process.communicate()
    assert (lake.version("events"), ids(lake)) in ((0, list("ab")), (1, list("abxy")))
    deliver(lake, events("xyz"))
    assert ids(lake) == list("abxyz")


@pytest.mark.slow
def test_of_two_that_deliver_at_once_none_is_lost_and_nothing_is_twice(lake: Lake) -> None:
    """Both begin with the first version; each id that both bring is in the table once."""
    both = [begun(lake, "", "", batches) for batches in ("ab cd ef", "bi dj fk")]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert ids(lake) == list("abcdefijk")
    assert lake.version("events") == 5


def test_who_comes_second_begins_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another delivery commits between opening the table and committing to it."""
    deliver(lake, events("a"))
    opened, others = Lake._open, iter(("ab", "cd", "ef"))

    def overtaken(self: Lake, table: str, version: int | None = None) -> object:
        found = opened(self, table, version)
        if letters := next(others, ""):
            deliver(self, events(letters))
        return found

    monkeypatch.setattr(Lake, "_open", overtaken)
    assert deliver(lake, events("bw")).inserted == 1
    assert ids(lake) == list("abcdefw")


def test_two_first_deliveries_become_one_table(
    lake: Lake, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another makes the table while the rows of the first version are being written."""
    read, before = store.stream_rows, len(server.refused())

    def overtaken(*told: Any) -> pa.RecordBatchReader:
        rows = read(*told)

        def batches() -> Iterator[pa.RecordBatch]:
            monkeypatch.setattr(store, "stream_rows", read)
            other = Thread(target=deliver, args=(lake, events("ab")))
            other.start()
            other.join()
            yield from rows

        return pa.RecordBatchReader.from_batches(rows.schema, batches())

    monkeypatch.setattr(store, "stream_rows", overtaken)
    counts = deliver(lake, events("bc"))
    assert (counts.inserted, counts.duplicates, counts.version) == (1, 1, 1)
    assert ids(lake) == list("abc")
    assert len(server.refused()) == before + 1  # the store does not write a version twice


def test_tables_beside_the_events_are_upserted(lake: Lake) -> None:
    lake.upsert_items(pa.table({"item_id": ["i", "j"], "category": ["bar", "park"]}))
    lake.upsert_items(pa.table({"item_id": ["j"], "category": ["zoo"]}))
    found = lake.read("items").sort_by("item_id").column("category").to_pylist()
    assert (found, lake.version("items")) == (["bar", "zoo"], 1)


def test_versions_are_followed_with_few_requests(lake: Lake, server: S3) -> None:
    followed = VersionPoller(lake)
    assert followed.version("events") is None
    for letter in "abcdef":
        deliver(lake, events(letter))
    assert followed.version("events") == lake.table_version("events")
    deliver(lake, events("g"))
    before = server.n_requests()
    latest = followed.version("events")
    looked, before = server.n_requests() - before, server.n_requests()
    assert lake.table_version("events") == latest
    assert latest is not None
    assert latest.number == 6
    assert looked < 6 < server.n_requests() - before


def test_another_lake_at_the_same_address_is_noticed(lake: Lake, server: S3) -> None:
    boto3 = pytest.importorskip("boto3", reason="needs boto3: the extra `scale`")
    for letters in ("ab", "cd"):
        deliver(lake, events(letters))
    followed, before = VersionPoller(lake, reopen_s=0.0), lake.table_version("events")
    assert followed.version("events") == before
    store = boto3.client("s3", endpoint_url=server.environment["AWS_ENDPOINT_URL"])
    for key in server.keys(f"{lake.root}/".removeprefix(f"s3://{BUCKET}/")):
        store.delete_object(Bucket=BUCKET, Key=key)
    assert followed.version("events") is None
    assert not lake.holds("events", before)
    for letters in ("vw", "xy"):
        deliver(lake, events(letters))
    after = followed.version("events")
    assert after is not None
    assert (after.number, after == before) == (before.number, False)
    assert not lake.holds("events", before)


def test_a_store_that_refuses_says_so_without_the_secret(
    lakes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LAKE_URL, "s3://no-such-bucket/lake")
    with pytest.raises(StoreError, match="could not be read or written") as raised:
        deliver(Lake(Workspace(tmp_path).lake("city")), events("a"))
    assert SECRET not in f"{raised.value} {raised.value.__cause__}"
    assert "NoSuchBucket" in str(raised.value.__cause__)
    assert str(raised.value).isprintable()
