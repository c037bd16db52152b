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
    n_new=900, n_returning=800, new_user_share=0.1, new_item_share=0.0, psi={"items": 0.05}
)
YOUNG = ChampionState(
    version="3",
    age_days=1.0,
    has_holdout=True,
    n_new_events=7,
    can_warm_start=True,
    cold_start_reason="",
)
NEW_DATA = "7 new training events; the latest segment is the holdout; "
CONFIG = FeedbackConfig(min_rows=500)


def told(
    shift: PopulationShift, champion: ChampionState = YOUNG, **more: Any
) -> tuple[str, str, str]:
    shift_result = decide_retraining(
        shift, champion, FeedbackConfig.model_validate({"min_rows": 500} | more)
    )
    return shift_result.action, shift_result.mode, "; ".join(shift_result.reasons)


@pytest.mark.parametrize(
    ("shift", "champion", "more", "action", "why"),
    [
        ({"n_new": 0}, {}, {"force": True}, "nothing", "no new events"),
        ({}, {"version": None}, {}, "wait", "no champion"),
        ({}, {"has_holdout": False}, {"force": True}, "wait", "too few events are later"),
        ({}, {"n_new_events": 0}, {"force": True}, "wait", "no new training events"),
        ({}, {}, {}, "retrain", "7 new training events; the latest segment is the holdout"),
        ({"n_returning": 0}, {}, {"force": True}, "wait", "all new events are of new users"),
        ({"n_returning": 499}, {}, {}, "wait", "only 499"),
        ({"n_returning": 500}, {}, {}, "retrain", "500 new events"),
        ({"n_returning": 9}, {"age_days": 7.5}, {}, "retrain", "7.5 days old"),
        ({"n_returning": 9}, {"age_days": math.inf}, {}, "retrain", "dated in the future"),
        ({"n_returning": 9}, {}, {"force": True}, "retrain", "forced"),
        ({"n_returning": 9, "psi": {"items": 0.3}}, {}, {}, "retrain", "items shifted (PSI 0.30)"),
        (
            {"n_returning": 9},
            {},
            {"drift_reasons": ["data: hours"]},
            "retrain",
            "drift of data: hours",
        ),
        ({"n_new": 0}, {}, {"drift_reasons": ["data: hours"]}, "nothing", "no new events"),
        ({"psi": {"items": 1.2}}, {}, {}, "hold", "items shifted (PSI 1.20)"),
        ({"psi": {"items": 1.2}}, {}, {"force": True}, "retrain", "items shifted (PSI 1.20)"),
    ],
)
def test_each_reason_alone(
    shift: dict[str, Any], champion: dict[str, Any], more: dict[str, Any], action: str, why: str
) -> None:
    shift_result, mode, reasons = told(replace(CALM, **shift), replace(YOUNG, **champion), **more)
    assert (shift_result, why in reasons) == (action, True), reasons
    assert (mode != "") == (action == "retrain")


def test_the_mode_is_told_with_its_reason() -> None:
    stuck = replace(YOUNG, can_warm_start=False, cold_start_reason="2 new items")
    assert told(CALM)[1] == "warm"
    assert told(CALM, mode="full")[1] == "full"
    for mode in ("auto", "warm"):
        assert told(CALM, stuck, mode=mode)[1:] == (
            "full",
            f"800 new events of users with a history; {NEW_DATA}"
            "full retraining with the champion's parameters: 2 new items",
        )
    with pytest.raises(ValidationError, match="hold_psi"):
        FeedbackConfig(drift_psi=0.5, hold_psi=0.4)


def events(users: list[str], items: list[str], hours: list[float]) -> pa.Table:
    at = pa.array([int(h * 3.6e9) for h in hours], pa.timestamp("us", tz="UTC"))
    n = len(users)
    plain = {"event_id": [str(i) for i in range(n)], "user_id": users, "item_id": items}
    zeros = pa.array([None] * n, pa.int32())
    return pa.table({**plain, "event_type": ["x"] * n, "occurred_at": at, "utc_offset_min": zeros})


def test_what_is_new_is_counted() -> None:
    rows = events(["a", "b", "a", "c", "c"], ["t", "t", "r", "t", "t"], [0, 1, 2, 3, 4])
    shift_result = measure_shift(rows, np.array([0, 0, 1, 1, 1], np.bool_), min_compared_rows=100)
    assert (shift_result.n_new, shift_result.n_returning, shift_result.psi) == (3, 2, {})
    assert (shift_result.new_user_share, shift_result.new_item_share) == (0.5, 0.5)
    assert measure_shift(rows, np.zeros(5, np.bool_), min_compared_rows=1).n_new == 0


def test_a_change_is_measured_and_chance_is_not() -> None:
    rng, n = np.random.default_rng(1), 4000
    items = rng.choice(["t", "r", "c"], n, p=[0.6, 0.3, 0.1]).tolist()
    hours = np.sort(rng.uniform(0, 24 * 40, n)).tolist()
    is_new = np.arange(n) >= 3000
    calm = measure_shift(events(["a"] * n, items, hours), is_new, min_compared_rows=200).psi
    assert set(calm) == {"event types", "items", "local hours"}
    assert max(calm.values()) < 0.1
    turned = [*items[:3000], *rng.choice(["t", "r", "c"], 1000, p=[0.1, 0.3, 0.6]).tolist()]
    shift_result = measure_shift(
        events(["a"] * n, turned, hours), is_new, min_compared_rows=200
    ).psi["items"]
    assert shift_result == pytest.approx(0.5 * np.log(6) * 2, rel=0.2)  # sum of (p - q) ln(p / q)
    nights = [h if h < 24 * 30 else h // 24 * 24 + h % 6 for h in hours]
    assert (
        measure_shift(events(["a"] * n, items, nights), is_new, min_compared_rows=200).psi[
            "local hours"
        ]
        > 1
    )
    afternoon = [*hours[:3000], *np.linspace(24 * 30, 24 * 30 + 5, 1000).tolist()]
    psi = measure_shift(events(["a"] * n, items, afternoon), is_new, min_compared_rows=200).psi
    assert "local hours" not in psi
