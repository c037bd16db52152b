"""The champion against its own level at promotion: from its training's folder, or MLflow's run."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronotope.metrics import EvaluationResult
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.prediction_drift import measure_prediction_drift
from chronotope.monitoring.prediction_replay import ReplayedPredictions
from chronotope.monitoring.promotion_baseline import PromotionBaseline, promotion_baseline
from chronotope.monitoring.thresholds import check_statistics
from chronotope.monitoring.windows import Windows
from chronotope.registry.champion_info import ChampionInfo
from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.stored_arrays import save_arrays
from tests.inference.hand_made import register_twice

WINDOWS = Windows(1_600_000_000, 86_400, 4)
N = 400


def answered(
    window: int = 3, *, ranked: float = 0.4, late: float = 1.0, seed: int = 0
) -> ReplayedPredictions:
    """Targets of 80 users; a share is ranked first; waits longer than told if late > 1."""
    rng = np.random.default_rng(seed)
    rank = np.where(rng.random(N) < ranked, 1.0, 50.0)
    flags: dict[str, Any] = {"is_return": np.arange(N) % 2 == 0, "n_history": np.full(N, 9)}
    outcomes = EvaluationResult(
        position=np.arange(N), user=rng.integers(1, 80, N).astype(np.int32), rank=rank,
        is_cold_item=np.zeros(N, np.bool_), new_only_rank=rank, basket_size=np.ones(N, np.int64),
        next_basket=np.ones((N, 5)), **flags,
    )  # fmt: skip
    named = rng.multinomial(10 * N, np.full(20, 0.05))
    return ReplayedPredictions(window, outcomes, 2.0, named, 0.0, rng.random(N) ** (1 / late))


def verdicts(now: ReplayedPredictions, level: PromotionBaseline | None) -> dict[str, str]:
    found = measure_prediction_drift([now], level, WINDOWS)
    return {
        f"{c.name} {c.statistic}": c.verdict
        for c in check_statistics(found.measured, MonitorConfig())
    }


@pytest.mark.parametrize(
    ("ranked", "late", "accuracy", "when"),
    [(0.4, 1.0, "usual", "usual"), (0.2, 1.0, "drift", "usual"), (0.4, 3.0, "usual", "drift")],
)
def test_a_fall_below_the_level_needs_no_history(
    ranked: float, late: float, accuracy: str, when: str
) -> None:
    found = verdicts(
        answered(ranked=ranked, late=late), PromotionBaseline(0.4, 0.02, np.full(10, 100.0))
    )
    assert (found["accuracy ndcg_10"], found["when js"]) == (accuracy, when)
    assert found["when coverage_80"] == "shown"
    assert found["entropy mean"] == "not enough history"


def test_better_than_its_level_is_no_drift() -> None:
    found = verdicts(answered(ranked=0.9), PromotionBaseline(0.4, 0.0, None))
    assert found["accuracy ndcg_10"] == "usual"
    assert "when js" not in found


def test_without_a_level_history_alone_judges() -> None:
    assert verdicts(answered(ranked=0.0), None)["accuracy ndcg_10"] == "not enough history"


def test_only_the_current_window_is_judged() -> None:
    found = measure_prediction_drift(
        [answered(window=2)], PromotionBaseline(0.4, 0.02, None), WINDOWS
    )
    assert (found.measured, len(found.rows), found.pit) == ([], 1, ())
    row = measure_prediction_drift([answered()], None, WINDOWS).rows[0]
    assert row.metrics["ndcg_10"] == pytest.approx(0.4, abs=0.1)
    assert row.metrics["when_coverage_80"] == pytest.approx(0.8, abs=0.1)
    assert row.metrics["coverage"] == 1
    assert 0 < row.metrics["gini"] < 0.1


def king(run: Path) -> ChampionInfo:
    return ChampionInfo("1", run, run, None, 0, datetime.now(UTC))


def test_the_level_is_that_of_the_holdout(tmp_path: Path) -> None:
    time = {"nll": 1.0, "mean_abs_log_error": 1.0, "coverage_80": 0.8, "coverage": []}
    time |= {"pit": [0.1] * 10, "n_targets": 200}
    judged_then = {"metrics": {}, "ndcg_intervals": {}, "places": {}, "time": time}
    (tmp_path / "evaluate_holdout.json").write_text(json.dumps({"result": judged_then}))
    values = np.repeat([0.0, 1.0], 50)
    save_arrays(tmp_path / "holdout.npz", user=np.arange(100), challenger=values)
    level = promotion_baseline(king(tmp_path), open_store(tmp_path / "mlruns"), "city")
    assert level is not None
    assert (level.ndcg, level.error) == pytest.approx((0.5, 0.05))
    assert level.pit is not None
    assert level.pit.tolist() == pytest.approx([20.0] * 10)


def test_damaged_files_of_the_training_count_as_gone(tmp_path: Path) -> None:
    (tmp_path / "evaluate_holdout.json").write_text(json.dumps({"result": {"time": {}}}))
    (tmp_path / "holdout.npz").write_bytes(b"PK")
    assert promotion_baseline(king(tmp_path), open_store(tmp_path / "mlruns"), "city") is None
    (tmp_path / "evaluate_holdout.json").write_text("")
    assert promotion_baseline(king(tmp_path), open_store(tmp_path / "mlruns"), "city") is None


def test_the_registry_knows_the_mean_when_the_folder_is_gone(tmp_path: Path) -> None:
    register_twice(tmp_path)
    store, gone = open_store(tmp_path / "mlruns"), king(tmp_path / "gone")
    assert promotion_baseline(gone, store, "city") is None
    run_id = store.client.get_model_version("city", "1").run_id
    store.client.log_metric(str(run_id), "ndcg_10", 0.25)
    assert promotion_baseline(gone, store, "city") == PromotionBaseline(0.25, 0.0, None)
