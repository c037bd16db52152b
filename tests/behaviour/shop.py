"""A log in a folder of its own, and the command line over it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from chronotope.cli.main import app
from chronotope.lake import Lake

NAMES = ("user", "item", "at", "lat", "lon", "value")
GOOD = (
    ("ann", "tea", "2024-01-01T08:00:00Z", 48.20, 16.40, 3.5),
    ("ann", "rye", "2024-01-02T08:00:00Z", 48.21, 16.37, 1.0),
    ("bob", "tea", "2024-01-02T09:00:00Z", 48.20, 16.40, 3.5),
)
YAML = """
name: shop
description: A log made by a test.
licence: CC0-1.0
data_dir: {folder}
time: {{timezone: Europe/Vienna}}
events:
  format: {format}
  path: log.{format}
  columns: {{user_id: user, item_id: item, occurred_at: at, lat: lat, lon: lon, value: value}}
"""
TINY = """
folds: {k: 1}
study: {n_trials: 1}
model: {history_len: 8, n_hidden: 8}
training: {max_epochs: 1, n_rounds: 1, max_targets: 200}
compression: {variants: [int8_tables], pruned_units: 0.0, n_runs: 10}
trial_targets: 100
max_fold_targets: 50
max_holdout_targets: 50
"""


@dataclass(frozen=True)
class Shop:
    """One dataset's files below a folder."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log.csv"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def lake(self) -> Lake:
        return Lake(self.root / "data" / "lake" / "shop")

    def write(self, *rows: tuple[object, ...]) -> None:
        """Deliver a CSV file of rows."""
        lines = [",".join(map(str, row)) for row in (NAMES, *rows)]
        self.log.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def call(self, command: str, *words: object, kind: str = "csv") -> Result:
        """Run a command of ``chronotope`` on the log."""
        spec = self.folder / "shop.yaml"
        spec.write_text(YAML.format(folder=self.folder, format=kind), encoding="utf-8")
        told = [command, spec, "--root", self.root, *words]
        return CliRunner().invoke(app, [str(word) for word in told])

    def ingest(self) -> dict[str, Any]:
        """Counts of the events, of which none may be lost, and the path of the ``features``."""
        done = self.call("ingest", "--json")
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        found: dict[str, Any] = {**result["events"], "features": result["features"]["path"]}
        n_left = found["n_read"] - found["n_dropped"]
        assert found["n_good"] + found["n_quarantined"] == n_left
        return found

    def forget(self, *words: object) -> Result:
        """Erase users, with ``n`` as the answer to a question."""
        told = ["forget", *words, "--root", self.root]
        return CliRunner().invoke(app, [str(word) for word in told], input="n\n")

    def train(self, *words: object) -> Result:
        """Train with tiny settings."""
        config = self.folder / "tiny.yaml"
        config.write_text(TINY, encoding="utf-8")
        return self.call("train", "--config", config, *words)


def refusal(done: Result) -> str:
    """The message of a clear error: what, what was received, a way out, and no traceback."""
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    return refusal_of(done.output)


def refusal_of(output: str) -> str:
    """The same of what a process wrote."""
    assert "Traceback" not in output
    told = " ".join(output.split())
    assert told.startswith("Error: ")
    what, received = told.split(" Received: ")
    assert len(what) > len("Error: ")
    assert len(received.split(". ")) >= 2, f"no way out: {told}"
    return told
