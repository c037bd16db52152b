"""``chronotope compress``: what is told changes the objective, the rest stays."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.compress import override_objective
from chronotope.cli.main import app
from chronotope.compression.config import CompressionConfig
from chronotope.contracts.errors import ConfigError

KEPT = CompressionConfig(max_size_mb=3.0, variants=("int8_tables",))


def test_what_is_not_told_stays() -> None:
    found = override_objective(KEPT, {"max_latency_ms": 2.5, "max_size_mb": None, "n_trials": 40})
    assert found == KEPT.model_copy(update={"max_latency_ms": 2.5, "n_trials": 40})


def test_a_bound_out_of_bounds_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_latency_ms"):
        override_objective(KEPT, {"max_latency_ms": 0.0})


def test_without_a_dataset_nothing_is_made(tmp_path: Path) -> None:
    words = ["compress", "--dataset", "nowhere", "--root", str(tmp_path), "--dry-run"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "No such dataset" in done.stderr
    assert list(tmp_path.iterdir()) == []
