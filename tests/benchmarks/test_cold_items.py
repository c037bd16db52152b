"""Benchmark of items without events, on a few made-up films."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import cold_items
from benchmarks.cold_items import list_metrics, main, split_items

N_FILMS, N_USERS = 100, 40


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    is_western = rng.random(N_FILMS) < 0.5
    words = np.where(is_western, "a horse and a gun", "a robot and a star")
    films = {
        "movie_id": np.arange(1, N_FILMS + 1),
        "title": [f"Film {idx} (1990)" for idx in range(N_FILMS)],
        "year": rng.integers(1950, 1998, N_FILMS).astype(np.float64),
        "genres": np.where(is_western, "Western|Drama", "Sci-Fi"),
        "overview": words,
        "tagline": pa.nulls(N_FILMS, pa.string()),
        "runtime": pa.array([None, *rng.integers(60, 200, N_FILMS - 1).tolist()], pa.float64()),
        "original_language": pa.array([None, *["en"] * (N_FILMS - 1)]),
    }
    likes_western = rng.random(N_USERS) < 0.5
    is_event = rng.random((N_USERS, N_FILMS)) < np.where(
        likes_western[:, None] == is_western[None], 0.5, 0.05
    )
    user_idx, item_idx = np.nonzero(is_event)
    folder = tmp_path / "movielens_100k"
    folder.mkdir()
    pq.write_table(pa.table(films), folder / "items.parquet")
    ratings = pa.table({"user_id": user_idx + 1, "item_id": item_idx + 1})
    pq.write_table(ratings, folder / "ratings.parquet")
    return tmp_path


def test_rows_hold_metrics_intervals_and_gains(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.cold_item_views._pretrained_views", lambda *_: [])
    main(["--data", str(data_dir), "--splits", "2", "--json", str(tmp_path / "rows.json")])
    rows = {row["model"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    model = rows["content: all"]
    assert {"dataset", "protocol", "model", "ndcg_10", "hr_10", "low", "high"} <= set(model)
    assert model["protocol"] == "items_60_20_20"
    assert model["low"] < model["ndcg_10"] < model["high"]
    assert rows["random"]["ndcg_10"] + 0.1 < rows["content: genres"]["ndcg_10"]
    assert rows["content: genres"]["ndcg_10"] <= 1
    assert abs(rows["content: all but language"]["gain"]) < 0.1


def test_a_split_holds_every_item_once() -> None:
    split = split_items(101, 3)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [60, 20, 21]
    parts = np.concatenate([split.train, split.validation, split.test])
    assert sorted(parts) == list(range(101))
    assert (split.train != split_items(101, 4).train).any()


def test_ndcg_is_that_of_the_definition() -> None:
    scores = np.hstack([[[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], np.zeros((3, 9))])
    relevant = np.hstack([[[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], np.zeros((3, 9))])
    ndcg, hits, users = list_metrics(scores, relevant)
    first = (1 + 0.5) / (1 + 1 / np.log2(3))
    np.testing.assert_allclose(ndcg, [first, 0.5])
    assert hits.tolist() == [1, 1]
    assert users.tolist() == [0, 2]


def test_events_of_held_back_items_are_not_read(data_dir: Path) -> None:
    data = cold_items.read_data(data_dir / "movielens_100k")
    split = split_items(N_FILMS, 0)
    scorer = cold_items.content_model("genres", "year")
    scores = scorer(data, split)
    blanked = data.interactions.toarray()
    blanked[split.test] = 0
    other = cold_items.ColdItemData(cold_items.csr_array(blanked), data.views)
    np.testing.assert_array_equal(scorer(other, split), scores)
