"""`chronotope simulate`: files beside each other, options checked."""

import json
from pathlib import Path

from typer.testing import CliRunner

from chronotope.cli.main import app

SMALL = ["--events", "2000", "--users", "20", "--items", "50", "--teleport", "0.05"]


def test_files_and_the_best_detection_are_reported(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path), *SMALL, "--json"])
    result = json.loads(shown.stdout)
    assert result["n_anomalies"]["teleport"] > 20
    assert [row["kind"] for row in result["best_detection"]] == ["teleport"]
    for name in ("events.parquet", "items.parquet", "labels.parquet", "labelled_city.yaml"):
        assert (tmp_path / name).is_file()


def test_wrong_rates_and_other_datasets_are_errors(tmp_path: Path) -> None:
    for options in (["--bot", "0.9"], ["--dataset", "foursquare_nyc"]):
        failed = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path), *options])
        assert failed.exit_code != 0
        assert not list(tmp_path.iterdir())


def test_a_dry_run_shows_the_city(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path), *SMALL, "--dry-run"])
    assert json.loads(shown.stdout)["planted"]["teleport"] == 0.05
    assert not list(tmp_path.iterdir())
