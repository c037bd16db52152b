"""A root in use moves into Postgres: every row, position and watermark; nothing twice."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.doctor import run_checks
from chronotope.cli.main import app
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.lake.interaction_log import Interaction, InteractionLog
from chronotope.registry.promotion_journal import PromotionJournal
from chronotope.runtime.state import (
    StateConnection,
    document_names,
    migration,
    open_existing,
    read_binary_document,
    read_document,
    store_identity,
    write_binary_document,
    write_checked_document,
    write_document,
    write_transaction,
)
from chronotope.runtime.store_urls import STATE_URL
from chronotope.runtime.workspace import Workspace
from tests.postgres import Postgres

WATERMARK = "data/feedback/cafe/watermark.json"


def visit(key: str) -> Interaction:
    return Interaction(key=key, kind="event", payload={"user_id": "ann", "note": "50 % of ?"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root whose log has five records, the last deleted; a champion; and a watermark."""
    workspace = Workspace(tmp_path / "root")
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        log.append([visit(f"k{number}") for number in range(6)])
    connection = open_existing(log.path)
    assert connection is not None
    with closing(connection), write_transaction(connection):
        connection.execute("DELETE FROM interactions WHERE key = 'k5'")
    journal = PromotionJournal(workspace.mlruns / "promotions.db")
    intent = journal.open_intent("cafe", "1", expected=None, key="run", reason="better")
    journal.settle(intent, "committed")
    (workspace.root / WATERMARK).parent.mkdir(parents=True)
    write_document(workspace.root / WATERMARK, '{"seq": 5}')
    return workspace.root


@pytest.fixture
def switch(
    state_server: Postgres, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[], None]:
    """Sets the address of a new database."""
    url = state_server.url(request.node.name[:60])
    return lambda: monkeypatch.setenv(STATE_URL, url)


def opened(path: Path) -> StateConnection:
    connection = open_existing(path)
    assert connection is not None
    return connection


def test_without_an_address_nothing_begins(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STATE_URL, raising=False)
    for function in (migration.plan_migration, migration.migrate_state):
        with pytest.raises(ConfigError, match="CHRONOTOPE_STATE_URL is not set"):
            function(root)


@pytest.mark.slow
def test_rows_positions_and_watermark_move_and_a_forgotten_writer_is_refused(
    root: Path, switch: Callable[[], None]
) -> None:
    workspace = Workspace(root)
    forgotten = InteractionLog(workspace.interactions("cafe"))
    before = forgotten.read(0, 9)
    with closing(opened(forgotten.path)) as connection:
        identity = store_identity(connection)
    switch()
    not_moved = [check for check in run_checks(root) if check.name == "store state"][-1]
    assert "interactions.db (5 rows)" in not_moved.observed
    planned = json.loads(CliRunner().invoke(app, _words(root, "--dry-run")).stdout)["stores"]
    done = json.loads(CliRunner().invoke(app, _words(root)).stdout)["stores"]
    assert [store["is_migrated"] for store in planned] == [False] * 3
    assert [check.ok for check in run_checks(root) if check.name == "store state"] == [True]
    assert [(store["name"], store["n_rows"]) for store in done] == [
        ("data/interactions/cafe/interactions.db", 5),
        ("mlruns/promotions.db", 1),
        (WATERMARK, 1),
    ]
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        assert log.read(0, 9) == before
        log.append([visit("next")])
        assert log.last() == 7  # behind the deleted record, which a watermark may have passed
    with closing(opened(log.path)) as connection:
        assert store_identity(connection) == identity
    assert PromotionJournal(workspace.mlruns / "promotions.db").champion("cafe") == "1"
    assert read_document(root / WATERMARK) == '{"seq": 5}'
    with closing(forgotten), pytest.raises(StoreError, match="migrated to postgresql"):
        forgotten.append([visit("lost")])


@pytest.mark.slow
def test_certificates_and_classifiers_are_documents_of_all_roots(
    tmp_path: Path, switch: Callable[[], None]
) -> None:
    certificate = tmp_path / "a/data/erasures/cafe/20260101T000000.0Z.json"
    classifier = tmp_path / "a/data/classifiers/cafe/category-00.classifier"
    for path in (certificate, classifier):
        path.parent.mkdir(parents=True)
    write_checked_document(certificate, {"dataset": "cafe"})
    write_binary_document(classifier, bytes(range(256)))
    switch()
    assert {store.name.split("/")[1] for store in migration.migrate_state(tmp_path / "a")} == {
        "erasures",
        "classifiers",
    }
    assert not certificate.exists()
    other = Path(*(tmp_path / "b").parts, *classifier.parts[-4:])
    assert read_binary_document(other) == bytes(range(256))
    write_binary_document(other, b"trained again")
    assert read_binary_document(classifier) == b"trained again"
    assert document_names(tmp_path / "b/data/erasures/cafe", ".json") == [certificate.name]


@pytest.mark.slow
def test_a_repetition_goes_on_after_a_kill_and_later_rows_stay(
    root: Path, switch: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    switch()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # the database has the rows, the file is not closed yet
        patch.setattr(migration, "_close_table", killed)
        with pytest.raises(KeyboardInterrupt):
            migration.migrate_state(root)
    assert not migration.plan_migration(root)[0].is_migrated
    assert [store.n_rows for store in migration.migrate_state(root)] == [5, 1, 1]
    with closing(InteractionLog(Workspace(root).interactions("cafe"))) as log:
        log.append([visit("next")])
        migration.migrate_state(root)
        assert [record.key for record in log.read(0, 9)] == ["k0", "k1", "k2", "k3", "k4", "next"]


@pytest.mark.slow
def test_other_rows_in_the_database_are_never_mixed_in(
    root: Path, switch: Callable[[], None]
) -> None:
    switch()
    with closing(InteractionLog(Workspace(root).interactions("cafe"))) as log:
        log.append([visit("other")])
        with pytest.raises(StoreError, match="has other rows of this store"):
            migration.migrate_state(root)
        assert [record.key for record in log.read(0, 9)] == ["other"]
    assert (root / WATERMARK).exists()


@pytest.mark.slow
def test_a_file_that_was_migrated_elsewhere_is_no_source_any_more(
    root: Path,
    switch: Callable[[], None],
    state_server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch()
    migration.migrate_state(root)
    assert migration.plan_migration(root)[0].is_migrated
    monkeypatch.setenv(STATE_URL, state_server.url("another"))
    assert not migration.plan_migration(root)[0].is_migrated
    with pytest.raises(StoreError, match="migrated to another database"):
        migration.migrate_state(root)


@pytest.mark.slow
def test_a_file_that_is_no_database_is_named(root: Path, switch: Callable[[], None]) -> None:
    switch()
    (root / "data/interactions/cafe/event_labels.db").write_bytes(b"no database" * 99)
    for function in (migration.plan_migration, migration.migrate_state):
        with pytest.raises(StoreError, match=r"event_labels\.db: file is not a database"):
            function(root)


def _words(root: Path, *options: str) -> list[str]:
    return ["migrate-state", "--root", str(root), "--json", *options]
