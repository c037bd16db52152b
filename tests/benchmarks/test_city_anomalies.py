"""Rows of the benchmark of the simulated city's anomalies, on a small city."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.anomalies import city
from chronotope.datasets.city_anomalies.rates import AnomalyKind


def test_recall_is_measured_at_one_percent_of_the_regular_events() -> None:
    kinds = np.array([0] * 200 + [int(AnomalyKind.BOT)] * 4)
    scores = np.r_[np.arange(200), [500, 198.5, 50, 199.5]]
    assert city.recall(scores, kinds, AnomalyKind.BOT) == 0.75


@pytest.mark.slow
def test_detectors_stand_beside_the_best_detection(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    city.main(["--seed", "1", "--events", "8000", "--users", "100", "--json", str(path)])
    rows = {row["model"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    assert set(rows) == {*city.DETECTORS, "best: recall", "best: recall_without_tables"}
    assert rows["supervised"]["teleport"] > 0.6
    assert rows["best: recall"]["bot"] >= rows["supervised"]["bot"] - 0.05
