"""State in Postgres: positions in their order, a server that restarts, and rights."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chronotope.cli.doctor import run_checks
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.lake.interaction_log import Interaction, InteractionLog
from chronotope.registry.promotion_journal import PromotionJournal
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.state import (
    StateConnection,
    delete_document,
    document_exists,
    document_names,
    open_existing,
    read_document,
    state_exists,
    write_document,
    write_new_document,
    write_transaction,
)
from chronotope.runtime.state.postgres import schema_name
from chronotope.runtime.store_urls import STATE_URL
from chronotope.runtime.workspace import Workspace
from tests.postgres import Postgres

pytestmark = pytest.mark.slow

TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'chronotope' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def database(
    state_server: Postgres, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """Name of a new database, which the environment names."""
    name = request.node.name[:60]
    monkeypatch.setenv(STATE_URL, state_server.url(name))
    return name


@pytest.fixture
def log(database: str, tmp_path: Path) -> Iterator[InteractionLog]:
    with closing(InteractionLog(Workspace(tmp_path).interactions("cafe"))) as opened:
        yield opened


def visit(key: str) -> Interaction:
    return Interaction(key=key, kind="event", payload={"user_id": "ann"})


def test_a_later_position_is_never_visible_before_an_earlier_one(
    log: InteractionLog, tmp_path: Path
) -> None:
    """A slow writer has drawn position 1; a fast one would commit 2 first and hide 1 for good."""
    slow = open_existing(log.path)
    assert slow is not None
    insert = "INSERT INTO interactions (key, kind, payload, received_at) VALUES (?, ?, ?, ?)"
    fast = threading.Thread(target=log.append, args=([visit("fast")],))
    with closing(slow):
        with write_transaction(slow):
            slow.execute(insert, ("slow", "event", "{}", "2025-01-01T00:00:00+00:00"))
            fast.start()
            fast.join(0.5)
            assert fast.is_alive()
            with closing(InteractionLog(Workspace(tmp_path / "other").interactions("cafe"))) as at:
                assert at.last() == 0  # a reader waits for nobody
        fast.join(30)
    assert [record.key for record in log.read(0, 9)] == ["slow", "fast"]


def test_a_reader_of_many_writers_misses_nothing(log: InteractionLog) -> None:
    n_writers, n_appends = 4, 25
    logs = [InteractionLog(log.path) for _ in range(n_writers)]
    writers = [
        threading.Thread(
            target=lambda own=own, number=number: [
                own.append([visit(f"{number}-{n}")]) for n in range(n_appends)
            ]
        )
        for number, own in enumerate(logs)
    ]
    for writer in writers:
        writer.start()
    keys: list[str] = []
    position = 0
    while len(keys) < n_writers * n_appends:
        was_over = not any(writer.is_alive() for writer in writers)
        for record in log.read(position, 1_000):
            keys.append(record.key)
            position = record.seq
        if was_over:
            break
    for own in logs:
        own.close()
    assert len(keys) == len(set(keys)) == n_writers * n_appends


def test_a_restarted_server_costs_an_answer_at_most(
    log: InteractionLog, database: str, state_server: Postgres
) -> None:
    log.append([visit("before")])
    state_server.rows(database, TERMINATE)
    assert log.last() == 1
    assert log.append([visit("before"), visit("after")]) == 1
    other = open_existing(log.path)
    assert other is not None

    def delete_in_vain(connection: StateConnection) -> None:
        with write_transaction(connection):
            connection.execute("DELETE FROM interactions")
            state_server.rows(database, TERMINATE)
            connection.execute("DELETE FROM interactions")

    with closing(other), pytest.raises(StoreError, match="state database cannot be used"):
        delete_in_vain(other)
    assert [record.key for record in log.read(0, 9)] == ["before", "after"]


def test_a_lock_whose_session_was_ended_is_free_and_its_holder_says_so(
    database: str, state_server: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, elsewhere = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with caplog.at_level(logging.WARNING), dataset_lock(here, "city", patience_s=0.0):
        with (
            pytest.raises(StoreError, match="Another run"),
            dataset_lock(elsewhere, "city", patience_s=0.0),
        ):
            pass
        state_server.rows(database, TERMINATE)
        with dataset_lock(elsewhere, "city", patience_s=10.0):
            pass
    assert "locks/city.lock was lost" in caplog.text


def test_roots_share_what_they_name_alike(log: InteractionLog, tmp_path: Path) -> None:
    other_root = tmp_path / "elsewhere"
    other_root.mkdir()
    with closing(InteractionLog(Workspace(other_root).interactions("cafe"))) as other:
        other.append([visit("a")])
        assert (other.identity, other.last()) == (log.identity, log.last())
        with closing(InteractionLog(Workspace(other_root).interactions("shop"))) as shop:
            assert (shop.identity == log.identity, shop.last()) == (False, 0)
    journal_path = other_root / "mlruns" / "promotions.db"
    assert not state_exists(journal_path)
    journal = PromotionJournal(journal_path)
    journal.settle(journal.open_intent("cafe", "1", expected=None, key="k", reason=""), "committed")
    assert PromotionJournal(tmp_path / "mlruns" / "promotions.db").champion("cafe") == "1"
    assert not list(other_root.iterdir())


def test_documents_are_replaced_as_a_whole(database: str, tmp_path: Path) -> None:
    folder, other_folder = (tmp_path / name / "experiments" / "cafe" for name in "ab")
    assert read_document(folder / "x.json") is None
    write_new_document(folder / "x.json", "first")
    with pytest.raises(FileExistsError, match=r"experiments/cafe/x\.json"):
        write_new_document(other_folder / "x.json", "second")
    write_document(folder / "y.json", "one")
    write_document(other_folder / "y.json", "two")
    assert (read_document(other_folder / "x.json"), read_document(folder / "y.json")) == (
        "first",
        "two",
    )
    assert document_names(folder, ".json") == ["x.json", "y.json"]
    assert document_names(folder.with_name("shop"), ".json") == []
    delete_document(folder / "x.json")
    assert not document_exists(other_folder / "x.json")


def test_a_prepared_store_needs_no_right_to_create(
    log: InteractionLog, database: str, state_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = f'"{schema_name("cafe", "interactions")}"'
    with state_server.connected(database) as connection:
        connection.execute("CREATE USER clerk PASSWORD 'of-a-clerk'")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO clerk")
        tables = "SELECT, INSERT ON ALL TABLES"
        connection.execute(f"GRANT {tables} IN SCHEMA {schema} TO clerk")
    host = urlsplit(state_server.url(database)).netloc.rpartition("@")[2]
    monkeypatch.setenv(STATE_URL, f"postgresql://clerk:of-a-clerk@{host}/{database}")
    with closing(InteractionLog(log.path)) as own:
        assert own.append([visit("a")]) == 1
    with pytest.raises(StoreError, match="lets this user create schemas"):
        InteractionLog(log.path.parent.with_name("shop") / "interactions.db")


@pytest.mark.parametrize(
    "address",
    ["mysql://ada:s3cret-word@db/state", "s3cret-word"],
    ids=["another-scheme", "no-address"],
)
def test_another_address_is_refused_unshown(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(STATE_URL, address)
    with pytest.raises(ConfigError, match="not an address of a Postgres database") as refusal:
        InteractionLog(Workspace(tmp_path).interactions("cafe"))
    assert "s3cret-word" not in str(refusal.value)


def test_errors_mask_the_password(
    state_server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = state_server.url("postgres").replace(state_server.password, "s3cret-word")
    monkeypatch.setenv(STATE_URL, address)
    with pytest.raises(StoreError, match="password authentication failed") as refusal:
        InteractionLog(Workspace(tmp_path).interactions("cafe"))
    assert "s3cret-word" not in str(refusal.value)


def test_doctor_names_the_database_and_what_is_wrong_with_it(
    database: str, state_server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (check,) = (found for found in run_checks(tmp_path) if found.name == "store state")
    assert (check.ok, check.observed.endswith(f"/{database}")) == (True, True)
    assert state_server.password not in check.observed
    monkeypatch.setenv(STATE_URL, state_server.url(database).replace(database, "no-such-database"))
    (check,) = (found for found in run_checks(tmp_path) if found.name == "store state")
    assert (check.ok, '"no-such-database" does not exist' in check.observed) == (False, True)
