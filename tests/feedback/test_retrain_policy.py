"""When feedback is learned from: each reason alone, and what holds it back."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.population_shift import PopulationShift, measure_shift
from chronotope.feedback.retrain_policy import ChampionState, decide_retraining

CALM = PopulationShift(
    n_new=900, n_with_past=800, new_users=0.1, new_items=0.0, psi={"items": 0.05}
)
YOUNG = ChampionState(
    champion="3", age_days=1.0, can_judge=True, n_teaching=7, can_warm=True, why_full=""
)
TEACH = "7 events teach that the champion was not trained on; the newest part judges; "
CONFIG = FeedbackConfig(min_rows=500)


def told(
    shift: PopulationShift, standing: ChampionState = YOUNG, **more: Any
) -> tuple[str, str, str]:
    found = decide_retraining(
        shift, standing, FeedbackConfig.model_validate({"min_rows": 500} | more)
    )
    return found.action, found.mode, "; ".join(found.reasons)


@pytest.mark.parametrize(
    ("shift", "standing", "more", "action", "why"),
    [
        ({"n_new": 0}, {}, {"force": True}, "nothing", "nothing new"),
        ({}, {"champion": None}, {}, "wait", "no champion"),
        ({}, {"can_judge": False}, {"force": True}, "wait", "hardly anything is later"),
        ({}, {"n_teaching": 0}, {"force": True}, "wait", "all but the newest part"),
        ({}, {}, {}, "retrain", "7 events teach"),
        ({"n_with_past": 0}, {}, {"force": True}, "wait", "only new users"),
        ({"n_with_past": 499}, {}, {}, "wait", "only 499"),
        ({"n_with_past": 500}, {}, {}, "retrain", "500 new events"),
        ({"n_with_past": 9}, {"age_days": 7.5}, {}, "retrain", "7.5 days old"),
        ({"n_with_past": 9}, {"age_days": math.inf}, {}, "retrain", "dated in the future"),
        ({"n_with_past": 9}, {}, {"force": True}, "retrain", "forced"),
        ({"n_with_past": 9, "psi": {"items": 0.3}}, {}, {}, "retrain", "items moved (PSI 0.30)"),
        ({"n_with_past": 9}, {}, {"drifted": ["data: hours"]}, "retrain", "drift of data: hours"),
        ({"n_new": 0}, {}, {"drifted": ["data: hours"]}, "nothing", "nothing new"),
        ({"psi": {"items": 1.2}}, {}, {}, "hold", "items moved (PSI 1.20)"),
        ({"psi": {"items": 1.2}}, {}, {"force": True}, "retrain", "items moved (PSI 1.20)"),
    ],
)
def test_each_reason_alone(
    shift: dict[str, Any], standing: dict[str, Any], more: dict[str, Any], action: str, why: str
) -> None:
    found, mode, reasons = told(replace(CALM, **shift), replace(YOUNG, **standing), **more)
    assert (found, why in reasons) == (action, True), reasons
    assert (mode != "") == (action == "retrain")


def test_the_mode_is_told_with_its_reason() -> None:
    stuck = replace(YOUNG, can_warm=False, why_full="2 new items")
    assert told(CALM)[1] == "warm"
    assert told(CALM, mode="full")[1] == "full"
    for mode in ("auto", "warm"):
        assert told(CALM, stuck, mode=mode)[1:] == (
            "full",
            f"800 new events of users with a past; {TEACH}"
            "full retraining with the champion's parameters: 2 new items",
        )
    with pytest.raises(ValidationError, match="break_psi"):
        FeedbackConfig(drift_psi=0.5, break_psi=0.4)


def events(users: list[str], items: list[str], hours: list[float]) -> pa.Table:
    at = pa.array([int(h * 3.6e9) for h in hours], pa.timestamp("us", tz="UTC"))
    n = len(users)
    plain = {"event_id": [str(i) for i in range(n)], "user_id": users, "item_id": items}
    zeros = pa.array([None] * n, pa.int32())
    return pa.table({**plain, "event_type": ["x"] * n, "occurred_at": at, "utc_offset_min": zeros})


def test_what_is_new_is_counted() -> None:
    rows = events(["a", "b", "a", "c", "c"], ["t", "t", "r", "t", "t"], [0, 1, 2, 3, 4])
    found = measure_shift(rows, np.array([0, 0, 1, 1, 1], np.bool_), compared_rows=100)
    assert (found.n_new, found.n_with_past, found.psi) == (3, 2, {})
    assert (found.new_users, found.new_items) == (0.5, 0.5)
    assert measure_shift(rows, np.zeros(5, np.bool_), compared_rows=1).n_new == 0


def test_a_change_is_measured_and_chance_is_not() -> None:
    rng, n = np.random.default_rng(1), 4000
    items = rng.choice(["t", "r", "c"], n, p=[0.6, 0.3, 0.1]).tolist()
    hours = np.sort(rng.uniform(0, 24 * 40, n)).tolist()
    is_new = np.arange(n) >= 3000
    calm = measure_shift(events(["a"] * n, items, hours), is_new, compared_rows=200).psi
    assert set(calm) == {"event types", "items", "local hours"}
    assert max(calm.values()) < 0.1
    turned = [*items[:3000], *rng.choice(["t", "r", "c"], 1000, p=[0.1, 0.3, 0.6]).tolist()]
    found = measure_shift(events(["a"] * n, turned, hours), is_new, compared_rows=200).psi["items"]
    assert found == pytest.approx(0.5 * np.log(6) * 2, rel=0.2)  # sum of (p - q) ln(p / q)
    nights = [h if h < 24 * 30 else h // 24 * 24 + h % 6 for h in hours]
    assert (
        measure_shift(events(["a"] * n, items, nights), is_new, compared_rows=200).psi[
            "local hours"
        ]
        > 1
    )
    afternoon = [*hours[:3000], *np.linspace(24 * 30, 24 * 30 + 5, 1000).tolist()]
    found_psi = measure_shift(events(["a"] * n, items, afternoon), is_new, compared_rows=200).psi
    assert "local hours" not in found_psi
