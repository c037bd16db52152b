"""A synthetic log: figures that see copies, files that can be ingested, refusals."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from chronotope.contracts.errors import NotEnoughData
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events
from chronotope.synthesis import SynthesisSettings, SyntheticLog, synthesise
from chronotope.synthesis.fidelity import distribution_distances
from chronotope.synthesis.files import write_synthetic_log
from chronotope.synthesis.privacy import privacy_figures
from tests.training.generators.small_city import small_city

TRAINING = {"max_epochs": 1, "max_targets": 500, "discovery_targets": 0, "new_user_queries": 0}
SETTINGS = SynthesisSettings.model_validate(
    {
        "n_users": 60,
        "held_out_users": 0.4,
        "training": TRAINING,
        "max_test_targets": 200,
        "min_users": 3,
    }
)


@pytest.fixture(scope="module")
def result() -> SyntheticLog:
    return synthesise("town", *small_city(), SETTINGS)


def test_a_model_trained_on_it_beats_popularity(result: SyntheticLog) -> None:
    by_log = {utility.trained_on: utility.ndcg_10 for utility in result.figures.utilities}
    assert by_log["synthetic"] > 1.3 * by_log["popularity of the real log"]
    assert 0.6 < result.figures.utility_ratio < 1.2


def test_a_copied_log_is_caught_and_a_generated_one_is_not(result: SyntheticLog) -> None:
    log, _ = small_city()
    is_fitted = np.isin(log.user_idx, np.unique(log.user_idx)[::2])
    fitted, held_out = log.take(is_fitted), log.take(~is_fitted)
    copied = privacy_figures(fitted, fitted, held_out, max_users=50, seed=0)
    assert copied.nearness.n_copies == len(np.unique(fitted.user_idx))
    assert max(attack.auc for attack in copied.attacks) > 0.95
    assert result.figures.nearness.n_copies == 0
    assert result.figures.worst_attack.auc < 0.75  # 40 users on one side


def test_distances_are_zero_for_the_log_itself_and_large_for_another() -> None:
    log, catalog = small_city()
    same = distribution_distances(log, log, log, catalog)
    assert all(row.synthetic == 0 for row in same)
    one_item = log.take(log.item_idx == log.item_idx[0])
    other = distribution_distances(one_item, log, log, catalog)
    assert next(row for row in other if row.name == "items").synthetic > 0.5


def test_the_files_are_a_dataset_with_its_report_beside_it(
    result: SyntheticLog, tmp_path: Path
) -> None:
    path = write_synthetic_log(result, small_city()[1], tmp_path, event_type="check_in")
    spec = load_spec(path)
    rows = pa.concat_tables(normalise(spec, raw).rows for raw in read_events(spec))
    assert rows.num_rows == result.figures.n_events
    assert pc.all(pc.starts_with(rows["user_id"], "s")).as_py()
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["utility_ratio"] == result.figures.utility_ratio
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "membership attack" in page
    assert "<script" not in page


def test_few_users_are_refused() -> None:
    log, catalog = small_city()
    with pytest.raises(NotEnoughData, match="50 users"):
        synthesise("town", log.take(log.user_idx < 20), catalog, SETTINGS)
