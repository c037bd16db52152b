"""What holds user ids is closed to other users of the machine, whatever the umask."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chronotope.lake import Interaction, InteractionLog
from chronotope.registry.mlflow_database import create_database
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion_journal import PromotionJournal
from chronotope.runtime.private_files import private_database, private_folder
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import fill_lake


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """The most generous one: what is private is so by itself."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def readable_by_others(root: Path) -> list[Path]:
    """Files that others can reach: neither they nor a folder above them is closed."""
    reached = []
    for path in root.rglob("*"):
        above = [path, *(p for p in path.parents if p.is_relative_to(root) and p != root)]
        if path.is_file() and all(mode(p) & 0o077 for p in above):
            reached.append(path)
    return reached


def test_folders_that_are_made_are_closed_and_others_stay_as_they_are(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    private_folder(shared / "users" / "city")
    assert [mode(p) for p in (shared, shared / "users", shared / "users" / "city")] == [
        0o777,
        0o700,
        0o700,
    ]


def test_the_files_beside_a_database_are_closed_too(tmp_path: Path) -> None:
    path = private_database(tmp_path / "new" / "users.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE users (name)")
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["users.db", "users.db-shm", "users.db-wal"]
        assert {mode(file) for file in files} == {0o600}


def test_a_log_that_was_open_to_all_is_closed_when_it_is_used(tmp_path: Path) -> None:
    path = Workspace(tmp_path).interactions("city")
    InteractionLog(path).close()
    path.chmod(0o644)
    log = InteractionLog(path)
    log.append([Interaction(key="a", kind="event", payload={"user_id": "ann"})])
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    log.close()
    assert readable_by_others(tmp_path) == []


def test_the_lake_and_the_registry_are_closed(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    store = open_store(Workspace(tmp_path).mlruns)
    PromotionJournal(store.root / "promotions.db").champion("city")
    assert any(tmp_path.rglob("*.parquet"))
    assert {path.name for path in tmp_path.rglob("*.db")} == {"mlflow.db", "promotions.db"}
    assert readable_by_others(tmp_path) == []


def test_a_new_mlflow_database_in_a_folder_of_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    create_database(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert (mode(tmp_path), mode(tmp_path / "mlflow.db")) == (0o777, 0o600)
