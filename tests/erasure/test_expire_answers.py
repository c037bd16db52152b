"""Shown lists leave the log of answers after their retention; events stay."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.audit import AuditTrail
from chronotope.cli.main import app
from chronotope.contracts.errors import ConfigError
from chronotope.erasure.expire_answers import expire_answers
from chronotope.lake import Interaction, InteractionLog
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import fill_lake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two old lists, one new one, and an old event."""
    fill_lake(tmp_path)
    path = Workspace(tmp_path).interactions("city")
    log = InteractionLog(path)
    kinds = {"a": "impression", "b": "impression", "c": "impression", "d": "event"}
    log.append(
        [
            Interaction(key=key, kind=kind, payload={"user_id": f"user-{key}"})
            for key, kind in kinds.items()
        ]
    )
    log.close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE interactions SET received_at = '2020-01-01T00:00:00+00:00' WHERE key != 'c'"
        )
    return tmp_path


def kept(root: Path) -> list[str]:
    log = InteractionLog(Workspace(root).interactions("city"))
    keys = [record.key for record in log.read(0, 10)]
    log.close()
    return keys


def test_old_lists_are_removed_and_recorded(root: Path) -> None:
    assert expire_answers(root, "city", 30, dry_run=True) == 2
    assert kept(root) == ["a", "b", "c", "d"]
    assert expire_answers(root, "city", 30) == 2
    assert kept(root) == ["c", "d"]
    assert b"user-a" not in Workspace(root).interactions("city").read_bytes()
    (entry,) = AuditTrail(Workspace(root).audit()).entries()
    assert (entry.action, entry.detail) == ("expire answers", {"n_lists": 2, "max_days": 30})
    assert expire_answers(root, "city", 30) == 0
    assert len(AuditTrail(Workspace(root).audit()).entries()) == 1


def test_a_dataset_without_a_log_has_nothing_to_remove(tmp_path: Path) -> None:
    assert expire_answers(tmp_path, "city", 0) == 0
    with pytest.raises(ConfigError, match="negative"):
        expire_answers(tmp_path, "city", -1)


def test_the_command_counts_first(root: Path) -> None:
    words = ["audit", "expire", "city", "--days", "30", "--root", str(root)]
    assert "2 lists" in CliRunner().invoke(app, [*words, "--dry-run"]).stdout
    assert '"n_lists": 2' in CliRunner().invoke(app, [*words, "--json"]).stdout
    assert kept(root) == ["c", "d"]
