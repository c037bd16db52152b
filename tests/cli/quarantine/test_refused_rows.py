"""``chronotope quarantine``: look at refused rows, read them again, discard them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.lake import Lake
from tests.feedback.test_refused_rows import LOG, deliver, shop

PROJECT = Path(__file__).parents[3]
YAML = """name: shop
description: Guests.
licence: ours
events:
  format: csv
  path: {folder}/log.csv
  decimal: ","
  columns: {{user_id: u, item_id: i, occurred_at: t, value: v}}
"""


def call(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["quarantine", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text(LOG, encoding="utf-8")
    lake = Lake(tmp_path / "data" / "lake" / "shop")
    deliver(lake, shop(tmp_path))
    (tmp_path / "shop.yaml").write_text(YAML.format(folder=tmp_path), encoding="utf-8")
    shutil.copytree(PROJECT / "expectations", tmp_path / "expectations")
    return lake


def counts(*words: object) -> Any:
    return json.loads(call(*words, "--json"))


@pytest.mark.usefixtures("lake")
def test_rows_are_shown_and_written_to_a_file(tmp_path: Path) -> None:
    shown = call("show", "shop.yaml", "--output", "refused.jsonl")
    assert "Refused rows of shop.yaml: 3" in shown
    assert "3  value is not a number" in shown
    rows = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert {row["row"]["value"] for row in rows} == {"3,50", "1,50", "much"}
    assert counts("show", "shop.yaml", "--reason", "no such") == {"n_rows": 0, "reasons": []}


def test_rows_are_replayed_by_the_corrected_yaml(lake: Lake) -> None:
    tried = counts("replay", "shop.yaml", "--dry-run")
    assert (tried["n_new"], tried["n_refused_again"], tried["dry_run"]) == (2, 1, True)
    assert len(lake.read("quarantine")) == 3
    assert "1 value is not a number" in call("replay", "shop.yaml")
    assert (len(lake.read("events")), len(lake.read("quarantine"))) == (4, 1)


def test_rows_are_discarded_by_choice_alone(lake: Lake) -> None:
    refused = call("discard", "shop.yaml", code=1)
    assert "neither --run nor --reason" in " ".join(refused.split())
    tried = counts("discard", "shop.yaml", "--all", "--dry-run")
    assert (tried["n_chosen"], tried["n_discarded"]) == (3, 0)
    assert counts("discard", "shop.yaml", "--reason", "not a number")["n_discarded"] == 3
    assert len(lake.read("quarantine")) == 0
