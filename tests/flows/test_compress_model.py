"""A trained network is compressed for another objective: nothing is trained, once is enough."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.compression.config import CompressionConfig
from chronotope.pipelines.recompress import find_source
from chronotope.pipelines.results import RecompressionResult
from chronotope.pipelines.retrain import trained_parameters
from chronotope.pipelines.run_dir import read_settings
from chronotope.registry.manual_promotion import promote_by_hand
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import current_champion
from flows import compress_model as module
from flows import without_heartbeat
from flows.compress_model import CompressSettings, compress_model
from tests.flows.feedback_town import TINY, Town
from tests.flows.test_train_model import written

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Town:
    """A town with a champion, whatever the gate says of it."""
    town = Town(tmp_path_factory.mktemp("town")).settle()
    distilled = {**TINY["compression"], "student": True}
    promoted = town.train(compression=distilled).promotion
    if not promoted.promoted:
        promote_by_hand(town.root, "town", promoted.version, "the test needs one")
    return town


def objective(town: Town, **told: Any) -> CompressionConfig:
    kept = read_settings(find_source(town.root, "town", "champion").run_dir, town.root).compression
    return kept.model_copy(update=told)


def compressed(town: Town, wanted: CompressionConfig) -> RecompressionResult:
    settings = CompressSettings(root=town.root, which="latest", objective=wanted)
    with without_heartbeat():
        found: RecompressionResult = compress_model("town", settings)
    return found


def called(town: Town, *words: object) -> dict[str, Any]:
    told = ["compress", "--dataset", "town", "--root", town.root, "--json", *words]
    done = CliRunner().invoke(app, [str(word) for word in told])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_own_objective_and_one_too_strict_register_nothing(town: Town) -> None:
    champion = current_champion(open_store(town.workspace.mlruns), "town")
    same = compressed(town, objective(town))
    assert (same.promotion, same.stop_reason) == (
        None,
        f"version {champion} is what the objective chooses",
    )
    strict = compressed(town, objective(town, max_size_mb=1e-3))
    assert (strict.promotion, strict.stop_reason) == (None, "nothing meets the objective")
    assert all("MB, more than 0.001" in row.why_not for row in strict.compression.candidates
               if not row.chosen)  # fmt: skip


def test_a_dry_run_shows_what_would_be_chosen_and_writes_nothing(town: Town) -> None:
    before = written(town.root)
    found = called(town, "--max-size-mb", 0.001, "--dry-run")
    assert found["reason"].startswith("Nothing meets the objective, full-float32 is selected.")
    assert found["dry_run"]
    assert written(town.root) == before


def test_another_objective_is_judged_once_and_trains_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = find_source(town.root, "town", "champion")
    networks = list((origin.network_run_dir / "candidates" / "networks").iterdir())
    trained = {path: path.stat().st_mtime_ns for path in networks}
    wanted = objective(town, variants=("fp16_tables",), max_ndcg_loss=1.0)
    with monkeypatch.context() as broken:
        broken.setattr(module, "evaluate", failing)
        with pytest.raises(ZeroDivisionError):
            compressed(town, wanted)
    first = compressed(town, wanted)
    before = written(town.root)
    again = compressed(town, wanted)
    assert again.promotion == first.promotion
    assert {path: at for path, at in written(town.root).items() if before.get(path) != at} == {}
    assert {path: path.stat().st_mtime_ns for path in networks} == trained
    assert first.compression.bundle.name.endswith("fp16_tables")
    promoted = first.promotion
    assert promoted is not None
    assert first.report is not None
    assert not any("champion" in reason for reason in promoted.reasons)
    assert "fp16_tables" in first.report.report.read_text(encoding="utf-8")
    later = find_source(town.root, "town", "latest")
    assert (later.version, later.network_run_dir) == (promoted.version, origin.network_run_dir)
    assert later.run_dir != origin.run_dir
    settings = read_settings(later.run_dir, town.root)
    assert trained_parameters(later.run_dir, settings) == trained_parameters(
        origin.run_dir, settings
    )


def failing(*_: object) -> dict[str, Any]:
    """A step that breaks."""
    raise ZeroDivisionError
