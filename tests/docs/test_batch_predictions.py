"""docs/batch-predictions.md: every column, option and rule that it names is there."""

import json
import re
from pathlib import Path

from typer.main import get_command

from chronotope.cli.main import app
from chronotope.contracts.predictions import INTERNAL_COLUMNS, PREDICTIONS
from chronotope.lake.prediction_table import KEEP_VERSIONS_H
from chronotope.scoring.batch_scorer import TIE_GAP
from chronotope.scoring.config import ScoringConfig
from chronotope.scoring.staging import RESUME_WITHIN
from flows.deployments import CRON_BY_SLUG

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "batch-predictions.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_column_is_described_once() -> None:
    cells = re.findall(r"^\| (`.*?) \|", section("The table"), re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(cells)) == PREDICTIONS.names
    internal = re.search(r"^\| (`.*?) \| tell whether", section("The table"), re.MULTILINE)
    assert internal is not None
    assert tuple(re.findall(r"`(\w+)`", internal[1])) == INTERNAL_COLUMNS


def test_every_option_is_known() -> None:
    command = get_command(app).commands["score"]  # type: ignore[attr-defined]
    known = {flag for parameter in command.params for flag in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--json"}
    assert named <= known
    listed = set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE))
    assert listed == known - {"dataset", "--root", "--json", "-k", "--help"}


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"Blocks of {ScoringConfig().block_users:,} users" in PAGE
    assert "within twelve hours" in PAGE
    assert RESUME_WITHIN.total_seconds() == 12 * 3600
    assert "closer than 1e-5" in PAGE
    assert TIE_GAP == 1e-5
    assert "after a week" in PAGE
    assert KEEP_VERSIONS_H == 168
    assert "runs at 4:00 UTC" in PAGE
    assert CRON_BY_SLUG["before-morning"] == "0 4 * * *"


def test_the_suite_has_the_rules_of_the_page() -> None:
    suite = json.loads((PROJECT / "expectations" / "predictions.json").read_text(encoding="utf-8"))
    rules = {expectation["meta"]["description"] for expectation in suite["expectations"]}
    assert "a probability lies in (0, 1]" in rules
    assert {expectation["severity"] for expectation in suite["expectations"]} == {"critical"}
