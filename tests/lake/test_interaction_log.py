"""The interaction log keeps what it acknowledged, once."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import DataError, StoreError
from chronotope.lake import Interaction, InteractionLog
from chronotope.runtime.workspace import Workspace


def visit(key: str, item: str = "cake") -> Interaction:
    return Interaction(key=key, kind="event", payload={"user_id": "ann", "item_id": item})


def shown(key: str) -> Interaction:
    return Interaction(key=key, kind="impression", payload={"items": ["cake"]})


@pytest.fixture
def log(tmp_path: Path, state_store: str) -> Iterator[InteractionLog]:
    with closing(InteractionLog(Workspace(tmp_path).interactions("cafe"))) as opened:
        yield opened


def test_twice_is_once_and_the_first_one_stays(log: InteractionLog) -> None:
    assert log.append([visit("a"), visit("b"), visit("a", "tea")]) == 2
    assert log.append([visit("b", "tea"), visit("c")]) == 1
    items = [stored.payload["item_id"] for stored in log.read(0, 10)]
    assert (items, log.count(), [s.key for s in log.read(0, 10)]) == (
        ["cake"] * 3,
        3,
        ["a", "b", "c"],
    )


def test_reading_goes_on_where_it_stopped(log: InteractionLog) -> None:
    assert (log.last(), log.read(0, 10)) == (0, [])
    log.append([visit("a"), shown("b"), visit("c"), shown("d")])
    first = log.read(0, 3)
    assert [stored.key for stored in log.read(first[-1].seq, 3)] == ["d"]
    assert [stored.key for stored in log.read(0, 9, "impression")] == ["b", "d"]
    assert log.last() == log.read(0, 9)[-1].seq
    assert (log.count(), log.count(first[0].seq), log.count(first[0].seq, "event")) == (4, 3, 1)
    assert abs(first[0].received_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_all_or_none(log: InteractionLog) -> None:
    broken = Interaction(key="b", kind="event", payload={"value": math.nan})
    with pytest.raises(DataError, match="not valid JSON"):
        log.append([visit("a"), broken])
    assert log.count() == 0


def test_a_nameless_record_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="key"):
        visit("")
    (tmp_path / "no.db").write_bytes(b"no database, but long enough to be looked at" * 50)
    with pytest.raises(StoreError, match="cannot be used"):
        InteractionLog(tmp_path / "no.db")


def test_threads_and_processes_share_it(log: InteractionLog) -> None:
    with closing(InteractionLog(log.path)) as other, ThreadPoolExecutor(8) as pool:
        logs = (log, other)
        counts = pool.map(lambda n: logs[n % 2].append([visit(f"k{n // 2}")]), range(80))
        assert sum(counts) == 40
    assert log.count() == 40


def test_commits_reach_the_disk(tmp_path: Path) -> None:
    with closing(InteractionLog(tmp_path / "log.db")) as log:
        told = [log.fetch(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")]
    assert told == ["wal", 2]  # 2 is FULL


WRITER = """
import sys
from pathlib import Path
from chronotope.lake import Interaction, InteractionLog
log = InteractionLog(Path(sys.argv[1]))
for n in range(1_000_000):
    log.append([Interaction(key=f"{n}.{m}", kind="event", payload={}) for m in range(3)])
    print(n, flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.communicate()[0].splitlines()
    with closing(sqlite3.connect(path)) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM interactions")]
    wanted = {f"{json.loads(line)}.{m}" for line in acknowledged for m in range(3)}
    assert wanted <= set(keys)
    assert len(keys) == len(set(keys)) <= len(wanted) + 3


@pytest.mark.usefixtures("state_store")
def test_an_erased_user_is_not_logged_again(tmp_path: Path) -> None:
    """Not even by a service that does not know of the erasure yet."""
    from chronotope.erasure.stored_rows import erase_logged_records
    from chronotope.lake.privacy import UserList
    from chronotope.runtime.workspace import Workspace

    workspace, erased_users = Workspace(tmp_path), UserList("0a" * 32, frozenset())
    database_path = workspace.interactions("cafe")
    records = [
        Interaction(key=user_id, kind="event", payload={"user_id": user_id})
        for user_id in ("ann-of-the-hill", "bob-of-the-dale")
    ]
    with closing(InteractionLog(database_path)) as service_log:
        assert service_log.append(records) == 2
        erasures = list(erase_logged_records(workspace, "cafe", ["ann-of-the-hill"], erased_users))
        assert erasures[0].n_removed == 1
        assert service_log.append(records) == 0
        assert [record.key for record in service_log.read(0, 9)] == ["bob-of-the-dale"]
    files = database_path.parent.glob("interactions.db*")
    assert b"ann-of-the-hill" not in b"".join(path.read_bytes() for path in files)
