"""``chronotope monitor`` measures without a trace, and says what it saw."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from tests.inference.hand_made import register_twice
from tests.monitoring.city import YAML, settle


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("city")
    settle(root, shifted=True)
    register_twice(root)
    (root / "city.yaml").write_text(YAML)
    return root


def call(city: Path, *more: str) -> str:
    words = ["monitor", "--dataset", str(city / "city.yaml"), "--root", str(city), "--dry-run"]
    done = CliRunner().invoke(app, [*words, "--window-days", "3", *more])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_dry_run_tells_and_leaves_nothing(city: Path) -> None:
    before = {path for path in city.rglob("*") if path.suffix not in {".db-wal", ".db-shm"}}
    found = json.loads(call(city, "--json", "--max-age-days", "0.001"))
    after = {path for path in city.rglob("*") if path.suffix not in {".db-wal", ".db-shm"}}
    assert after == before
    assert (found["report"]["verdict"], found["report"]["champion"], found["dry_run"]) == (
        "drift",
        "1",
        True,
    )


def test_what_it_saw_is_a_table_and_a_verdict(city: Path) -> None:
    told = call(city)
    assert "Verdict: drift" in told
    assert "- data: hour of day (js)" in told
    assert "the outcome is not evaluated" in told
