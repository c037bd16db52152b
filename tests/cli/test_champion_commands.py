"""Asking, promoting and rolling back as a person or a script meets it."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chronotope.cli.doctor import champion_ages
from chronotope.cli.main import app
from chronotope.registry.promotion_journal import PromotionJournal
from tests.inference.hand_made import fill_lake, register_twice

WHY = ("--reason", "because")


def call(root: Path, *words: object) -> Result:
    given = [*words, "--dataset", "city", "--root", root]
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


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    fill_lake(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_recommend_for_machines_and_for_people(root: Path) -> None:
    words = ("recommend", "u00", "--at", "2020-09-13T20:00+02:00", "-k", 2)
    said = answer(root, *words)
    assert [item["id"] for item in said["items"]] == ["i00", "i01"]
    assert (said["request_time"], said["version"]) == ("2020-09-13T20:00:00+02:00", "1")
    shown = call(root, *words, "--lat", 40, "--lon", -40).stdout
    assert "you had it 2 times" in " ".join(shown.replace("│", " ").split())
    assert "When: in" in shown
    assert "km" in shown


@pytest.mark.slow
def test_explain_for_machines_and_for_people(root: Path) -> None:
    words = ["explain", "city", "--user", "u00", "--at", "2020-09-13T20:00+02:00"]
    words += ["--root", str(root)]
    run = CliRunner().invoke
    said = json.loads(run(app, [*words, "--item", "i00", "--json"]).stdout)
    assert (said["item_id"], said["rank"], said["version"]) == ("i00", 1, "1")
    # the hand-made model reads no history, and no run of it was kept
    assert (said["events"], said["removed"], said["terms"]) == ([], [], [])
    assert "Your history hardly changes" in run(app, words).stdout
    assert "does not know this item" in run(app, [*words, "--item", "zz"]).stderr


@pytest.mark.slow
def test_promote_and_roll_back_and_the_history_of_it(root: Path) -> None:
    assert answer(root, "promote", 2, *WHY, "--dry-run")["dry_run"]
    assert answer(root, "recommend", "u00")["version"] == "1"
    assert answer(root, "promote", 2, *WHY)["previous"] == "1"
    assert answer(root, "recommend", "u00")["version"] == "2"
    assert answer(root, "rollback", *WHY, "--dry-run")["champion"] == "1"
    assert answer(root, "rollback", *WHY)["champion"] == "1"
    kinds = [entry["kind"] for entry in answer(root, "history")["history"]]
    assert kinds == ["promote", "promote", "rollback"]
    assert "because" in call(root, "history").stdout
    assert answer(root, "promote", 2, *WHY)["champion"] == "2"  # the same words count again
    assert answer(root, "rollback", *WHY)["champion"] == "1"


@pytest.mark.slow
def test_what_cannot_be_promoted_is_told(root: Path) -> None:
    for words, told in (
        (("promote", 7, *WHY), "no such model version"),
        (("promote", "challenger", *WHY), "A version is a number"),
        (("promote", 1, *WHY), "champion already"),
        (("rollback", *WHY), "no earlier champion"),
    ):
        done = call(root, *words)
        assert (done.exit_code, told in " ".join(done.stderr.split())) == (1, True), done.stderr


@pytest.mark.slow
def test_doctor_tells_the_age_of_a_champion(root: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--root", str(root), "--json"])
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["champion city"]["ok"]
    assert "version 1, 0 days" in checks["champion city"]["observed"]


def test_without_a_champion_the_way_out_is_told(bare: Path) -> None:
    for words in (("recommend", "u00"), ("rollback", *WHY), ("promote", 1, *WHY), ("history",)):
        done = call(bare, *words)
        assert done.exit_code == 1
        assert "has no champion yet" in " ".join(done.stderr.split())
    assert not (bare / "mlruns").exists()


def test_an_unreadable_moment_and_an_unknown_dataset(bare: Path) -> None:
    assert "cannot be read" in call(bare, "recommend", "u00", "--at", "tomorrow").stderr
    assert "No such dataset" in call(bare / "elsewhere", "recommend", "u00").stderr


def test_report_is_the_latest_of_this_dataset(tmp_path: Path) -> None:
    assert "No such dataset" in call(tmp_path, "report").stderr
    fill_lake(tmp_path)
    assert "no training report yet" in call(tmp_path, "report").stderr
    folder = tmp_path / "data" / "reports"
    (folder / "city").mkdir(parents=True)
    names = ("city/old.html", "city-2.html", "city_two.html", "city-anomaly.html")
    for age, name in zip((30, 20, 10, 5), names, strict=True):
        (folder / name).write_text("page")
        os.utime(folder / name, (1_700_000_000 - age,) * 2)
    ahead = folder / "city-1.html"  # written while the clock was a year ahead
    ahead.write_text("page")
    os.utime(ahead, (time.time() + 365 * 86_400,) * 2)
    assert answer(tmp_path, "report")["path"] == str((folder / "city-2.html").resolve())
    detector = answer(tmp_path, "report", "--kind", "anomalies")["path"]
    assert detector == str((folder / "city-anomaly.html").resolve())
    assert "no monitoring report yet" in call(tmp_path, "report", "--kind", "monitoring").stderr
    page = tmp_path / "data" / "monitoring" / "city" / "run" / "drift.html"
    page.parent.mkdir(parents=True)
    page.write_text("page")
    assert answer(tmp_path, "report", "--kind", "monitoring")["path"] == str(page.resolve())


def test_an_old_champion_is_noted_and_a_broken_journal_is_an_error(bare: Path) -> None:
    (bare / "mlruns").mkdir()
    path = bare / "mlruns" / "promotions.db"
    journal = PromotionJournal(path)
    intent = journal.open_intent("city", "4", expected=None, key="k", reason="r")
    journal.settle(intent, "committed")
    (check,) = champion_ages(bare, datetime.now(UTC) + timedelta(days=31, hours=1))
    assert (check.ok, check.needed) == (False, False)
    assert check.observed == "version 4, 31 days since its promotion"
    (check,) = champion_ages(bare, datetime.now(UTC) - timedelta(days=365, hours=1))
    assert (check.ok, check.observed) == (False, "version 4, promoted 366 days in the future")
    path.write_bytes(b"no database at all, but long enough to be looked at" * 20)
    (check,) = champion_ages(bare, datetime.now(UTC))
    assert (check.ok, check.needed) == (False, True)
