"""The replay loses no event, and says where what it served was behind."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.replay.__main__ import _city, main, verdict
from benchmarks.replay.judge import keep, kept
from benchmarks.replay.traffic import SPEC, Traffic, posts
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.metrics import EvaluationResult
from chronotope.serving.api.requests import PostedEvent


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return Traffic.of(_city(), base_share=0.5, n_rounds=3)


def ids(rows: Any) -> list[str]:
    found: list[str] = rows.column("event_id").to_pylist()
    return found


def test_base_and_rounds_are_the_whole_log_in_the_order_of_time(traffic: Traffic) -> None:
    parts = [traffic.base, *(traffic.round(n) for n in (1, 2, 3))]
    assert Counter(name for part in parts for name in ids(part)) == Counter(ids(traffic.rows))
    for earlier, later in pairwise(parts):
        assert max(earlier["occurred_at"].to_pylist()) < min(later["occurred_at"].to_pylist())
    assert [len(part) for part in parts] == pytest.approx([2_500, 833, 833, 834], abs=5)


def test_an_event_is_the_same_from_the_source_and_from_the_service(
    traffic: Traffic, tmp_path: Path
) -> None:
    spec = load_spec(traffic.write_base(tmp_path))
    read = [normalise(spec, raw).rows for raw in read_events(spec)]
    assert [name for rows in read for name in ids(rows)] == ids(traffic.base)
    told = [PostedEvent.model_validate(event) for event in posts(traffic.round(1))]
    payloads = [
        each.model_dump(mode="json", exclude={"kind", "key"}, exclude_none=True) for each in told
    ]
    taken = ids(payloads_to_batch(payloads, spec).rows)
    assert taken == [each.key for each in told] == ids(traffic.round(1))
    assert yaml.safe_load((tmp_path / SPEC).read_text())["items_are_places"] is True


def test_the_verdict_names_what_was_lost_and_where_it_was_behind() -> None:
    def row(number: int, gain: float, lost: int = 0) -> dict[str, Any]:
        return {"round": number, "gain": {"estimate": gain}, "lost": lost}

    rows = [row(1, -0.1), row(2, -0.1), row(3, 0.0), row(4, -0.1, 2), row(5, 0.2, -1)]
    found = verdict(rows, {"gain": {"estimate": 0.0}})
    assert found == {"lost": 3, "rounds_behind": [4], "better_overall": False}


def test_outcomes_come_back_one_round_after_the_other(tmp_path: Path) -> None:
    def outcomes(n: int) -> EvaluationResult:
        whole = np.arange(n, dtype=np.int64)
        truth = whole % 2 == 0
        rank = whole + 1.0
        baskets = (np.ones(n, np.int64), np.ones((n, 5)))
        user = whole.astype(np.int32)
        return EvaluationResult(whole, user, rank, truth, whole, ~truth, rank, *baskets)

    for name, n in (("a", 3), ("b", 2)):
        keep(tmp_path / f"{name}.npz", outcomes(n))
    found = kept([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert found.rank.tolist() == [1, 2, 3, 1, 2]
    assert found.is_return.tolist() == [True, False, True, True, False]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
def test_three_rounds_through_the_service_lose_nothing(tmp_path: Path) -> None:
    told = ["--quick", "--rounds", "3", "--requests", "20"]
    words = [*told, "--root", str(tmp_path / "root"), "--json", str(tmp_path / "all.json")]
    main([*words, "--after", "2"])
    first = json.loads((tmp_path / "all.json").read_text())
    main(words)  # goes on after the second round
    found = json.loads((tmp_path / "all.json").read_text())
    rows = found["rounds"]
    assert rows[:2] == first["rounds"]
    assert found["verdict"]["lost"] == 0
    assert [row["lost"] for row in rows] == [0, 0, 0]
    assert sum(row["n_posted"] for row in rows) + 2_500 == pytest.approx(5_000, abs=5)
    for row in rows:
        assert row["n_posted"] == row["n_new"] == row["intake"]["n_read"]
        assert 0 <= row["n_hits"] <= row["n_requests"] == 20
    actions = [row["decision"]["action"] for row in rows]
    assert actions == ["wait", "retrain", "wait"]
    reigns = rows[1]["promotion"]
    assert rows[2]["version"] == (reigns["version"] if reigns["promoted"] else rows[1]["version"])
    assert rows[0]["served"] == rows[0]["frozen"]
    assert found["overall"]["n_targets"] == sum(row["n_targets"] for row in rows)
