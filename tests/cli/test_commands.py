"""The command line as a person or a script meets it."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chronotope.cli.doctor import version_check
from chronotope.cli.main import app

YAML = """
name: kiosk
description: Four rows, one of them without an item.
licence: CC0-1.0
data_dir: nowhere
events:
  format: csv
  path: log.csv
  columns: {user_id: who, item_id: what, occurred_at: at}
"""
LOG = """who,what,at
ann,tea,2024-01-01T08:00:00Z
bob,tea,2024-01-01T09:00:00Z
bob,rye,2024-01-01T10:00:00Z
eve,,2024-01-01T11:00:00Z
"""


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def checks(root: Path) -> dict[str, Any]:
    found = json.loads(call("doctor", "--root", root, "--json").stdout)["checks"]
    return {check["name"]: check for check in found}


@pytest.fixture
def kiosk(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "kiosk.yaml").write_text(YAML)
    return tmp_path


@pytest.mark.slow
def test_ingest_counts_and_twice_is_once(prefect: None, kiosk: Path) -> None:
    words = ("ingest", kiosk / "kiosk.yaml", "--data", kiosk, "--root", kiosk / "root", "--json")
    runs = ((), ("--engine", "processes"))
    first, second = (json.loads(call(*words, *more).stdout)["events"] for more in runs)
    assert (first["n_read"], first["n_good"], first["n_quarantined"]) == (4, 3, 1)
    assert first["reasons"] == {"item_id is missing": 1}
    assert (first["n_duplicates"], second["n_duplicates"]) == (0, 3)


@pytest.mark.slow
def test_a_dry_run_shows_counts_and_keeps_nothing(prefect: None, kiosk: Path) -> None:
    root = kiosk / "root"
    done = call("ingest", kiosk / "kiosk.yaml", "--data", kiosk, "--root", root, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "quarantined: item_id is missing" in done.stdout
    assert "Data docs" not in done.stdout
    assert "First 3 events; times are UTC" in done.stdout
    assert "2024-01-01 10:00:00" in done.stdout
    assert not root.exists()


@pytest.mark.slow
def test_dropped_and_merged_rows_are_shown(prefect: None, kiosk: Path) -> None:
    (kiosk / "log.csv").write_text(
        "who,what,at,n,note\nann,tea,2024-01-01T08:00:00Z,1,a\nann,tea,2024-01-01T08:00:00Z,1,a\n"
        "ann,tea,2024-01-01T08:00:00Z,2,b\nann,tea,2024-01-01T08:00:00Z,-1,a\n"
    )
    text = YAML.replace("occurred_at: at}", "occurred_at: at, value: n}\n  keep: {n: {gt: 0}}")
    (kiosk / "kiosk.yaml").write_text(text)
    words = ("ingest", kiosk / "kiosk.yaml", "--data", kiosk, "--root", kiosk / "root", "--dry-run")
    shown = " ".join(call(*words).stdout.split())
    for part in (
        "dropped: n gt 0 │ 1",
        "repeated: same identity, other values │ 1",
        "2 rows were merged into earlier rows of the delivery with the same identity (user_id,",
        "value 1.0 and 2.0",
        "`identity: occurrence`",
    ):
        assert part in shown, shown
    (kiosk / "kiosk.yaml").write_text(text + "identity: occurrence\n")
    counts = json.loads(call(*words[:-1], "--json").stdout)["events"]
    again = json.loads(call(*words[:-1], "--json").stdout)["events"]
    assert (counts["n_read"], counts["n_good"], counts["n_dropped"]) == (4, 3, 1)
    assert (counts["n_duplicates"], again["n_duplicates"]) == (0, 3)


def test_our_errors_are_one_message_and_exit_code_1() -> None:
    done = call("ingest", "no_such_dataset")
    assert done.exit_code == 1
    assert "No such dataset" in done.stderr
    assert "Traceback" not in done.output


def test_doctor_finds_this_machine_ready_and_writes_nothing(tmp_path: Path) -> None:
    found = checks(tmp_path)
    assert found["numpy"]["ok"], found["numpy"]
    assert found["store mlruns"]["ok"]
    assert list(tmp_path.iterdir()) == []


def test_doctor_sees_a_taken_port_and_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("in the way")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 5000))
        sock.listen()
        found = checks(tmp_path)
    assert not found["port 5000"]["ok"]
    assert not found["store mlruns"]["ok"]
    assert call("doctor", "--root", tmp_path).exit_code == 1


@pytest.mark.parametrize(
    ("requirement", "ok"), [("typer>=0.1", True), ("typer<0.1", False), ("no-such-thing>=1", False)]
)
def test_versions_are_held_against_bounds(requirement: str, ok: bool) -> None:
    check = version_check(requirement)
    assert check.ok == ok
    assert check.way_out.startswith("pip install") != ok


def test_version() -> None:
    assert call("--version").stdout.startswith("chronotope 0.")


@pytest.mark.parametrize("command", ["forget", "opt-out"])
def test_a_command_without_a_dataset_says_what_is_missing(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [command, "ada", "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "No dataset is named" in result.output
    assert "Pass --dataset NAME" in result.output
