"""One audit trail of all roots in Postgres: no fork, every changed byte found, roots migrated."""

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from typer.testing import CliRunner

from chronotope.audit import AuditTrail, migrate_trail, plan_trail_migration
from chronotope.audit.audit_secrets import SECRETS_FILE
from chronotope.cli.main import app
from chronotope.contracts.errors import StoreError
from chronotope.runtime.store_urls import STATE_URL
from chronotope.runtime.workspace import Workspace
from tests.postgres import Postgres

pytestmark = pytest.mark.slow
SCHEMA = '"chronotope.audit.trail"'


@pytest.fixture
def database() -> str:
    return f"trail_{token_hex(4)}"


@pytest.fixture
def url(state_server: Postgres, database: str) -> str:
    return state_server.url(database)


@pytest.fixture
def tampering(state_server: Postgres, url: str, database: str) -> Iterator[Any]:
    """Connection of somebody who may switch off the triggers."""
    assert url
    with state_server.connected(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"SET search_path TO {SCHEMA}")
        yield connection


def trail_of(root: Path) -> AuditTrail:
    root.mkdir(exist_ok=True)
    return AuditTrail(Workspace(root).audit())


def test_roots_append_to_one_chain_and_each_verifies_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_URL, url)
    first, second = trail_of(tmp_path / "a"), trail_of(tmp_path / "b")
    assert (first.verify().n_entries, first.verify().problem) == (0, "")
    first.append("promote", "city", {"version": "1"}, once_key="promotion 1")
    second.rotate_secret()
    again = second.append("promote", "city", {"version": "1"}, once_key="promotion 1")
    second.append("forget", "city", {"n_users": 3, "why": "50 % of ?"})
    assert again.seq == 1
    assert first.verify() == second.verify()
    assert (first.verify().n_entries, first.verify().problem) == (3, "")
    assert not list(tmp_path.rglob("*.json*"))


def _append_many(root: Path) -> None:
    for number in range(10):
        trail_of(root).append("label", "city", {"n_new": number})


def test_processes_of_several_roots_never_fork_the_chain(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_URL, url)
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_append_many, args=(tmp_path / name,)) for name in ("a", "b", "c")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    check = trail_of(tmp_path / "a").verify()
    assert (check.n_entries, check.problem) == (30, "")


def test_each_changed_byte_is_found_in_the_database(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tampering: Any
) -> None:
    old = trail_of(tmp_path / "a")
    old.append("promote", "city", {"version": "1", "reason": "+1.2 \N{PERCENT SIGN}"})
    old.append("rollback", "city", {"version": "2"})
    monkeypatch.setenv(STATE_URL, url)
    migrate_trail(tmp_path / "a")
    trail = trail_of(tmp_path / "b")
    trail.append("forget", "city", {"n_users": 3})
    for table in ("trail_lines", "adopted_lines"):
        rows = tampering.execute(f"SELECT seq, line FROM {table}").fetchall()  # noqa: S608
        update = f"UPDATE {table} SET line = %s WHERE seq = %s"  # noqa: S608
        assert len(rows) == 2
        for seq, line in rows:
            for position in range(0, len(line), 17):
                changed = chr(ord(line[position]) ^ 1)
                text = line[:position] + changed + line[position + 1 :]
                tampering.execute(update, (text, seq))
                assert trail.verify().problem, (table, seq, position)
            tampering.execute(update, (line, seq))
    assert not trail.verify().problem


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM trail_lines WHERE seq = 1",
        "DELETE FROM trail_lines WHERE seq = 3",
        "DELETE FROM trail_lines",
        "DELETE FROM adopted_lines WHERE seq = 2",
        "DELETE FROM adopted_lines",
        "INSERT INTO adopted_lines SELECT trail, 3, line FROM adopted_lines WHERE seq = 1",
        "INSERT INTO adopted_lines SELECT 'other', 1, line FROM adopted_lines WHERE seq = 1",
        "UPDATE trail_lines SET seq = 9 - seq",
        "DELETE FROM trail_documents WHERE name = 'head'",
        "DELETE FROM trail_documents WHERE name = 'secrets'",
        "UPDATE trail_documents SET content = replace(content, '3', '2') WHERE name = 'head'",
    ],
)
def test_a_removed_or_added_row_is_found(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tampering: Any,
    statement: str,
) -> None:
    for version in "12":
        trail_of(tmp_path / "a").append("promote", "city", {"version": version})
    monkeypatch.setenv(STATE_URL, url)
    migrate_trail(tmp_path / "a")
    trail = trail_of(tmp_path / "b")
    for version in "34":
        trail.append("promote", "city", {"version": version})
    assert (trail.verify().n_entries, trail.verify().n_adopted) == (3, 2)
    tampering.execute(statement)
    assert trail.verify().problem


@pytest.mark.parametrize("statement", ["UPDATE trail_lines SET line = ''", "TRUNCATE trail_lines"])
def test_the_database_refuses_to_change_lines(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tampering: Any,
    statement: str,
) -> None:
    import psycopg

    monkeypatch.setenv(STATE_URL, url)
    trail_of(tmp_path / "a").append("promote", "city", {})
    tampering.execute("SET session_replication_role = origin")
    with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
        tampering.execute(statement)


def test_trails_of_two_roots_are_migrated_and_a_forgotten_writer_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    heads = []
    for root in roots:
        trail_of(root).append("promote", "city", {"version": root.name}, once_key=f"by {root.name}")
        heads.append(trail_of(root).verify().head)
    monkeypatch.setenv(STATE_URL, url)
    run = CliRunner().invoke
    for root in roots:
        planned = run(app, ["migrate-state", "--root", str(root), "--json", "--dry-run"])
        done = run(app, ["migrate-state", "--root", str(root), "--json"])
        for result, is_migrated in ((planned, False), (done, True)):
            assert json.loads(result.stdout)["stores"] == [
                {"name": "mlruns/audit/trail.jsonl", "n_rows": 1, "is_migrated": is_migrated}
            ]
        assert plan_trail_migration(root)[0].is_migrated
        assert migrate_trail(root) == plan_trail_migration(root)
    trail = trail_of(tmp_path / "c")
    assert trail.append("promote", "city", {}, once_key="by a").detail == {"version": "a"}
    check = trail.verify()
    assert (check.n_entries, check.n_adopted, check.problem) == (2, 2, "")
    for head in heads:
        words = ["audit", "verify", "--root", str(tmp_path / "c"), "--head", head]
        assert run(app, words).exit_code == 0
    listed = json.loads(run(app, ["audit", "list", "--json", "--root", str(tmp_path / "c")]).stdout)
    actions = [entry["action"] for entry in listed["entries"]]
    assert actions == ["promote", "promote", "adopt trail", "adopt trail"]
    monkeypatch.delenv(STATE_URL)
    with pytest.raises(StoreError, match="was migrated to the state database"):
        trail_of(roots[0]).append("promote", "city", {})
    assert not (roots[0] / "mlruns/audit/trail.jsonl").exists()


def test_a_kill_before_the_file_is_closed_adopts_only_what_is_new(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chronotope.audit.file_trail import FileTrail

    def killed(_: FileTrail) -> None:
        raise KeyboardInterrupt

    old = trail_of(tmp_path / "a")
    old.append("promote", "city", {"version": "1"})
    monkeypatch.setenv(STATE_URL, url)
    with monkeypatch.context() as patch:
        patch.setattr(FileTrail, "close_migrated", killed)
        with pytest.raises(KeyboardInterrupt):
            migrate_trail(tmp_path / "a")
    monkeypatch.delenv(STATE_URL)
    old.append("promote", "city", {"version": "2"})
    monkeypatch.setenv(STATE_URL, url)
    migrate_trail(tmp_path / "a")
    check = old.verify()
    assert (check.n_entries, check.n_adopted, check.problem) == (2, 2, "")


def test_a_changed_trail_is_not_adopted(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = trail_of(tmp_path / "a")
    old.append("promote", "city", {"version": "1"})
    path = old.folder / "trail.jsonl"
    path.write_bytes(path.read_bytes().replace(b"promote", b"promoted"))
    monkeypatch.setenv(STATE_URL, url)
    with pytest.raises(StoreError, match="line 1"):
        migrate_trail(tmp_path / "a")
    assert path.exists()
    assert old.verify().n_adopted == 0


def test_secrets_in_a_file_are_copied_by_hand(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_URL, url)
    monkeypatch.setenv(SECRETS_FILE, str(tmp_path / "first.json"))
    trail_of(tmp_path / "a").append("promote", "city", {})
    second = tmp_path / "second.json"
    monkeypatch.setenv(SECRETS_FILE, str(second))
    with pytest.raises(StoreError, match="Copy it from a machine"):
        trail_of(tmp_path / "b").append("promote", "city", {})
    assert not second.exists()
    second.write_bytes((tmp_path / "first.json").read_bytes())
    trail_of(tmp_path / "b").append("promote", "city", {})
    assert (trail_of(tmp_path / "b").verify().n_entries, trail_of(tmp_path).verify().problem) == (
        2,
        "",
    )
