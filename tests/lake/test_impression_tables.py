"""The log as columns: whatever a payload lacks is null, and no record is lost over another."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chronotope.lake.impression_tables import ACTIONS, SHOWN, action_table, impression_table
from chronotope.lake.interaction_log import Interaction, InteractionLog

T0 = 1_735_718_400  # 2025-01-01T08:00:00Z


@pytest.fixture
def log(tmp_path: Path, state_store: str) -> Iterator[InteractionLog]:
    with closing(InteractionLog(tmp_path / "log.db")) as opened:
        yield opened


def keep(log: InteractionLog, kind: Any, *payloads: dict[str, Any]) -> None:
    first = log.last()
    log.append(
        [
            Interaction(key=f"{kind}{first + n}", kind=kind, payload=of)
            for n, of in enumerate(payloads)
        ]
    )


def test_an_empty_log_has_its_columns(log: InteractionLog) -> None:
    assert (impression_table(log).schema, action_table(log).schema) == (SHOWN, ACTIONS)
    assert (len(impression_table(log)), len(action_table(log))) == (0, 0)


def test_what_users_did(log: InteractionLog) -> None:
    keep(
        log, "event",
        {"user_id": "u1", "item_id": "i1", "occurred_at": "2025-01-01T08:00:00Z"},
        {"user_id": 7, "item_id": "i1", "occurred_at": "2025-01-01T09:00:00.250000+01:00"},
        {"user_id": "u2", "occurred_at": "yesterday"},
        {"user_id": "u2", "item_id": "i2", "occurred_at": 12},
    )  # fmt: skip
    keep(log, "impression", {"items": ["i9"]})
    assert action_table(log).to_pylist() == [
        {"user_id": "u1", "item_id": "i1", "at_s": T0},
        {"user_id": "7", "item_id": "i1", "at_s": T0},
        {"user_id": "u2", "item_id": None, "at_s": None},
        {"user_id": "u2", "item_id": "i2", "at_s": None},
    ]


def test_what_was_shown_a_row_an_item(log: InteractionLog) -> None:
    whole = {
        "user_id": "u1", "shown_at": "2025-01-01T08:00:00+00:00", "version": "3",
        "policy": "greedy",
        "items": ["a", "b"], "propensities": [1.0, 0.25],
    }  # fmt: skip
    keep(log, "impression", whole, {"items": ["c"], "propensities": []}, {"items": "d"}, {})
    rows = impression_table(log).to_pylist()
    assert [(r["answer"], r["position"], r["item_id"]) for r in rows] == [
        (1, 1, "a"),
        (1, 2, "b"),
        (2, 1, "c"),
    ]
    assert [row["propensity"] for row in rows] == [1.0, 0.25, None]
    assert (rows[1]["user_id"], rows[1]["at_s"], rows[1]["version"]) == ("u1", T0, "3")
    assert {rows[2][name] for name in ("user_id", "at_s", "version", "policy")} == {None}
