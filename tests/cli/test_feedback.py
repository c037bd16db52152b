"""``chronotope feedback --dry-run``: what waits, and what of the inbox is set aside and why."""

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from chronotope.cli.main import app

YAML = """
name: kiosk
description: A kiosk.
licence: CC0-1.0
events:
  format: csv
  path: log.csv
  columns: {user_id: who, item_id: what, occurred_at: when}
"""


def test_a_dry_run_shows_what_is_set_aside(tmp_path: Path) -> None:
    (spec := tmp_path / "kiosk.yaml").write_text(YAML)
    (inbox := tmp_path / "data" / "inbox" / "kiosk").mkdir(parents=True)
    os.mkfifo(inbox / "a\n\x1b[31m.jsonl")
    (inbox / "b.jsonl").write_text('{"user_id": "7"}\n{"user')
    words = ["feedback", str(spec), "--root", str(tmp_path), "--dry-run"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "files of the inbox: b.jsonl." in shown.stdout
    assert r"Set aside: a\n\x1b[31m.jsonl: its name has characters" in shown.stdout
    assert "Set aside: b.jsonl: its last line is not finished" in shown.stdout
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["waiting"]
    assert (told["files"], len(told["set_aside"])) == (["b.jsonl"], 2)
