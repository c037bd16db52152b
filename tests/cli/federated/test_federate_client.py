"""``chronotope federate-client``: a lake is needed; an idle service ends."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.contracts.schemas import EVENTS
from chronotope.lake import Lake

ROWS = [
    {
        "event_id": str(n),
        "user_id": "ann",
        "item_id": "tea",
        "event_type": "view",
        "occurred_at": datetime(2026, 1, n, tzinfo=UTC),
    }
    for n in (1, 2, 3)
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Lake(tmp_path / "data/lake/cafe").merge_events(pa.Table.from_pylist(ROWS, schema=EVENTS))
    return tmp_path


def invoked(root: Path, *options: str) -> tuple[int, str]:
    arguments = ["federate-client", "cafe", "--root", str(root), "--exchange", str(root / "x")]
    result = CliRunner().invoke(app, [*arguments, *options])
    return result.exit_code, result.output


def test_a_dry_run_counts_events_and_writes_nothing(root: Path) -> None:
    code, shown = invoked(root, "--dry-run", "--json")
    assert code == 0
    assert json.loads(shown) == {
        "dry_run": True, "n_events": 3, "answered": 0, "failed": 0,
    }  # fmt: skip
    assert not (root / "x").exists()


def test_an_idle_service_ends_with_its_counts(root: Path) -> None:
    code, shown = invoked(root, "--idle-s", "0.2", "--json")
    assert code == 0
    assert json.loads(shown)["answered"] == 0
    assert sorted(path.name for path in (root / "x").iterdir()) == ["answers", "requests"]


def test_a_root_without_the_dataset_is_refused(tmp_path: Path) -> None:
    code, shown = invoked(tmp_path, "--dry-run")
    assert code == 1
    assert "The client has no lake of the dataset" in " ".join(shown.split())
