"""The transfer benchmark on small logs: users drawn, a log left out, a row for every start."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.transfer import __main__ as transfer
from benchmarks.transfer import logs
from chronotope.datasets.city import CityConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.pretraining import PretrainingLog

CITY = CityConfig(n_events=1_000, n_users=20, n_items=30, days=30)


def test_whole_users_are_drawn_by_the_seed() -> None:
    whole = PretrainingLog(sample_log(), sample_catalog())
    drawn = logs.sample_users(whole, 150, seed=1).log
    assert 150 <= len(drawn) < 250
    for user in np.unique(drawn.user_idx):
        assert (drawn.user_idx == user).sum() == (whole.log.user_idx == user).sum()
    again, other = (logs.sample_users(whole, 150, seed=seed).log for seed in (1, 2))
    assert np.array_equal(again.user_idx, drawn.user_idx)
    assert not np.array_equal(np.unique(other.user_idx), np.unique(drawn.user_idx))
    assert logs.sample_users(whole, 10_000, seed=1) is whole


def test_a_city_has_places_categories_and_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CITIES", (CITY,))
    log, catalog = logs.read_log("city_0", None, 10_000, seed=0)
    assert len(log) == 1_000
    assert catalog.categories.size == 9
    assert np.isfinite(catalog.item_lat[1:]).all()
    assert (catalog.item_category[1:] > 0).all()
    assert np.array_equal(log.place_idx, log.item_idx)


def test_each_start_has_a_row_and_runs_replace_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shop(_: Path) -> PretrainingLog:
        return PretrainingLog(sample_log(), sample_catalog())

    monkeypatch.setattr(transfer, "READERS", {"shop": shop})
    monkeypatch.setattr(logs, "READERS", {"shop": shop})
    monkeypatch.setattr(logs, "CITIES", (CITY,))
    monkeypatch.setattr(transfer, "CITY_NAMES", ("city_0",))
    monkeypatch.setattr(transfer, "MAX_TARGETS", 50)
    (tmp_path / "shop").mkdir()
    options = ["--data", str(tmp_path), "--work", str(tmp_path), "--json", str(tmp_path / "r.json")]
    small = ["--epochs", "1", "--pretraining-epochs", "1", "--shares", "0.5,1.0"]
    for _ in range(2):
        transfer.main([*options, *small, "--datasets", "shop"])
    rows = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert {(row["start"], row["share"]) for row in rows} == {
        (start, share) for start in transfer.STARTS for share in (0.5, 1.0)
    }
    assert len(rows) == 2 * len(transfer.STARTS)
    assert all(0 < row["mrr"] <= 1 for row in rows)
    assert {row["pretraining"] for row in rows} == {"other logs"}


def test_columns_become_a_log_with_categories_by_item() -> None:
    times = pa.array([0, 60, 120], pa.timestamp("s"))
    log, catalog = logs._as_log(
        pa.chunked_array([["u", "u", "v"]]),
        pa.chunked_array([["b", "a", "b"]]),
        pa.chunked_array([times]),
        category_by_item={"b": "x"},
    )
    assert log.occurred_s.tolist() == [0, 60, 120]
    assert log.item_idx.tolist() == [2, 1, 2]
    assert catalog.item_category.tolist() == [0, 0, 1]
