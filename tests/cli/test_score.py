"""``chronotope score`` as a person or a script meets it."""

import json
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import pytest
from typer.testing import CliRunner, Result

from chronotope.cli.main import app
from tests.inference.hand_made import fill_lake, register_twice

pytestmark = pytest.mark.slow


def call(root: Path, *words: object) -> Result:
    given = ["score", "city", "--root", root, *words]
    return CliRunner().invoke(app, [str(word) for word in given])


def answer(root: Path, *words: object) -> dict[str, Any]:
    done = call(root, *words, "--json")
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    fill_lake(root)
    register_twice(root)
    return root


def test_score_for_machines_and_for_people(root: Path) -> None:
    planned = answer(root, "--k", 2, "--dry-run")
    assert (planned["n_scored"], planned["table_version"], planned["dry_run"]) == (3, None, True)
    at = ("--at", "2020-09-13T20:00+02:00")
    said = answer(root, "-k", 2, *at, "--out", root / "p.csv")
    assert (said["n_scored"], said["table_version"], said["n_exported"]) == (3, 0, 6)
    rows = pacsv.read_csv(root / "p.csv").to_pylist()
    assert [row["item_id"] for row in rows[:2]] == ["i00", "i01"]
    assert rows[1]["reason"] == "you had it 2 times, last on 2020-09-11"
    shown = call(root, "-k", 2, *at, "--out", root / "p.csv").stdout
    assert "0 users scored by version 1 as of 2020-09-13 18:00:00 UTC" in shown
    assert "3 users without news: rows unchanged" in shown
    assert "6 rows" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--k", 1000), "Choose a k of at most"),
        (("--users", "no/such/file"), "users file cannot be read"),
        (("--out", "predictions.xlsx"), "ends in .parquet or .csv"),
        (("--sql-table", "a;b"), "sql_table"),
        (("--at", "tomorrow"), "cannot be read"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    root: Path, words: tuple[object, ...], message: str
) -> None:
    done = call(root, *words, "--dry-run")
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
