"""Posted items are on disk once acknowledged, whatever dies, and say what all posts say."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.lake.posted_items import PostedItems, with_posted_fields

WRITER = """
import sys
from pathlib import Path
from chronotope.lake.posted_items import PostedItems
log = PostedItems(Path(sys.argv[1]))
n = 0
while True:
    log.append([(f"item {n}", {"title": "t" * 500}), (f"twin {n}", {"title": "t"})])
    print(n, flush=True)
    n += 1
"""


@pytest.fixture
def posted_items(tmp_path: Path) -> Iterator[PostedItems]:
    with closing(PostedItems(tmp_path / "interactions" / "posted_items.db")) as opened:
        yield opened


@pytest.mark.usefixtures("state_store")
def test_posts_add_up(posted_items: PostedItems) -> None:
    assert posted_items.append([("a", {"title": "A", "lat": 1.0}), ("b", {})]) == 2
    assert posted_items.append([("a", {"title": "A2"}), ("b", {})]) == 1
    assert posted_items.append([("a", {"title": "A2", "lat": 1.0})]) == 0
    item = posted_items.item("a")
    assert item is not None
    assert (item.fields, item.earlier) == (
        {"title": "A2", "lat": 1.0},
        {"title": frozenset({"A"})},
    )
    assert (item.seq, posted_items.position()) == (3, 3)
    assert posted_items.items()["a"] == item
    assert posted_items.item("c") is None
    assert [post.item_id for post in posted_items.read(after=2)] == ["a"]


@pytest.mark.usefixtures("state_store")
def test_two_workers_share_the_file(posted_items: PostedItems) -> None:
    with closing(PostedItems(posted_items.path)) as other, ThreadPoolExecutor(4) as pool:
        logs = (posted_items, other)
        results = [
            pool.submit(logs[n % 2].append, [(f"i{n // 4}", {"title": "same"})]) for n in range(40)
        ]
        assert sum(result.result() for result in results) == 10  # each item is stored once
        assert len(other.items()) == len(posted_items.items()) == 10


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "posted_items.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        while process.stdout.readline() != "9\n":
            pass
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = process.stdout.read().split()
    items = PostedItems(path).items()
    n_acknowledged = 10 + len(acknowledged)
    assert n_acknowledged <= len(items) / 2 <= n_acknowledged + 1
    assert len(items) % 2 == 0  # a request is stored as a whole or not at all


def test_half_a_write_is_no_post(posted_items: PostedItems) -> None:
    posted_items.append([("a", {"title": "A"})])
    wal = posted_items.path.with_name("posted_items.db-wal")
    before = wal.read_bytes()
    posted_items.append([("b", {"title": "B" * 5_000})])
    after = wal.read_bytes()
    torn = posted_items.path.with_name("torn.db")
    torn.write_bytes(posted_items.path.read_bytes())
    half = len(before) + (len(after) - len(before)) // 2
    torn.with_name("torn.db-wal").write_bytes(after[:half])
    assert list(PostedItems(torn).items()) == ["a"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "posted_items.db"
    path.write_bytes(b"no database at all, but long enough to be read as one" * 20)
    with pytest.raises(StoreError, match="posted items"):
        PostedItems(path)


def test_it_belongs_to_its_owner(posted_items: PostedItems) -> None:
    assert posted_items.path.stat().st_mode & 0o077 == 0


def test_the_source_keeps_what_it_states(posted_items: PostedItems) -> None:
    posted_items.append([("a", {"title": "posted", "text": "first"})])
    posted_items.append([("a", {"text": "second"})])
    item = posted_items.items()["a"]
    assert with_posted_fields({"title": "source", "text": None}, item) == {
        "item_id": "a",
        "title": "source",
        "text": "second",
    }
    assert with_posted_fields({"text": "first"}, item)["text"] == "second"
    assert with_posted_fields({"text": "of the source"}, item)["text"] == "of the source"


def test_a_lock_that_is_held_is_waited_for(posted_items: PostedItems) -> None:
    blocker = sqlite3.connect(posted_items.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(posted_items.append, [("a", {"title": "A"})])
        time.sleep(0.2)
        assert not waiting.done()
        blocker.execute("ROLLBACK")
        assert waiting.result(timeout=30) == 1
    blocker.close()
