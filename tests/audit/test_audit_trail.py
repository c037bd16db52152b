"""The audit trail: every changed byte is found, secrets rotate, kills leave it whole."""

import multiprocessing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.audit import AuditSecrets, AuditTrail
from chronotope.audit.audit_secrets import SECRETS_FILE
from chronotope.cli.main import app
from chronotope.contracts.errors import StoreError
from chronotope.runtime.workspace import Workspace


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    filled = AuditTrail(Workspace(tmp_path).audit())
    filled.append("promote", "city", {"version": "1", "reason": "better: +1.2 \N{PERCENT SIGN}"})
    filled.rotate_secret()
    filled.append("rollback", "city", {"version": "2"})
    filled.rotate_secret()
    filled.append("forget", "city", {"n_users": 3})
    return filled


def test_two_rotated_secrets_lose_no_history(trail: AuditTrail) -> None:
    check = trail.verify()
    assert (check.n_entries, check.problem) == (5, "")
    entries = trail.entries()
    assert len({entry.secret_id for entry in entries}) == 3
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert check.head == entries[-1].mac


def test_each_changed_byte_is_found(trail: AuditTrail) -> None:
    path = trail.folder / "trail.jsonl"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert trail.verify().problem, position
    path.write_bytes(whole)
    assert not trail.verify().problem


@pytest.mark.parametrize("removed", [0, 2, 4], ids=["first", "middle", "last"])
def test_a_removed_line_is_found(trail: AuditTrail, removed: int) -> None:
    path = trail.folder / "trail.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:removed] + lines[removed + 1 :]))
    check = trail.verify()
    assert (check.n_entries, bool(check.problem)) == (removed, True)


@pytest.mark.parametrize("name", ["trail.jsonl", "head.json", "secrets.json"])
def test_a_removed_file_is_found(trail: AuditTrail, name: str) -> None:
    (trail.folder / name).unlink()
    assert trail.verify().problem


def test_another_secret_signs_nothing(trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    other = trail.folder.parent / "other.json"
    monkeypatch.setenv(SECRETS_FILE, str(other))
    AuditSecrets.open(trail.folder / "secrets.json")
    assert "is not in the file of the secrets" in trail.verify().problem
    with pytest.raises(StoreError, match="secret of the audit trail is missing"):
        trail.append("promote", "city", {})


def test_a_killed_writer_leaves_a_torn_line_that_the_next_removes(trail: AuditTrail) -> None:
    with (trail.folder / "trail.jsonl").open("ab") as file:
        file.write(b'{"action":"prom')
    assert trail.verify().problem == "line 6: is no entry"
    trail.append("promote", "city", {"version": "3"})
    assert (trail.verify().n_entries, trail.verify().problem) == (6, "")


def test_an_act_is_recorded_once(trail: AuditTrail) -> None:
    first = trail.append("promote", "city", {"version": "4"}, once_key="promotion 4")
    again = trail.append("promote", "city", {"version": "4"}, once_key="promotion 4")
    assert (first, trail.verify().n_entries) == (again, 6)


def _append_many(folder: Path) -> None:
    for number in range(10):
        AuditTrail(folder).append("label", "city", {"n_new": number})


def test_processes_append_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    AuditTrail(folder).append("label", "city", {})
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_many, args=(folder,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    check = AuditTrail(folder).verify()
    assert (check.n_entries, check.problem) == (31, "")


def test_the_commands_list_verify_and_rotate(trail: AuditTrail, tmp_path: Path) -> None:
    root = ["--root", str(tmp_path)]
    run = CliRunner().invoke
    listed = run(app, ["audit", "list", *root, "--dataset", "city", "--json"])
    assert listed.stdout.count('"action"') == 3
    assert run(app, ["audit", "rotate", *root, "--dry-run"]).exit_code == 0
    assert trail.verify().n_entries == 5
    assert run(app, ["audit", "rotate", *root]).exit_code == 0
    head = trail.verify().head
    assert run(app, ["audit", "verify", *root, "--head", head]).exit_code == 0
    assert run(app, ["audit", "verify", *root, "--head", "0" * 64]).exit_code == 1
    path = trail.folder / "trail.jsonl"
    path.write_bytes(path.read_bytes().replace(b"rollback", b"r0llback"))
    failed = run(app, ["audit", "verify", *root])
    assert failed.exit_code == 1
    assert "line 3" in failed.output
