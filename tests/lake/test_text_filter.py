"""Rows are found by a text whatever wrote their file: the first delivery or a later merge."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.ids import IdMap
from chronotope.inference.history import read_history
from chronotope.lake import Lake
from chronotope.lake.text_filter import text_equals
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import LAST_S, fill_lake

USERS = ("u00", "u07", "u9")
AT = datetime.fromtimestamp(LAST_S, UTC) + timedelta(days=30)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two deliveries of events and of items; the second has other files."""
    fill_lake(tmp_path)
    lake = Lake(Workspace(tmp_path).lake("city"))
    moments = pa.array([(LAST_S + n) * 1_000_000 for n in range(2)], pa.timestamp("us", tz="UTC"))
    columns = {"event_id": ["x1", "x2"], "user_id": ["u00", "u07"], "item_id": ["i01", "i02"]}
    columns |= {"place_id": ["i01", "i02"], "event_type": ["visit"] * 2}
    lake.merge_events(pa.table(columns | {"occurred_at": moments}))
    lake.upsert_items(pa.table({"item_id": ["i00", "new"], "text": ["coffee", "cake"]}))
    return lake


def test_a_row_is_found_in_the_files_of_every_delivery(lake: Lake) -> None:
    events, items = lake.dataset("events"), lake.dataset("items")
    n_events = {user: len(events.to_table(filter=text_equals("user_id", user))) for user in USERS}
    assert n_events == {"u00": 5, "u07": 1, "u9": 0}
    for item_id, text in {"i00": "coffee", "new": "cake"}.items():
        rows = items.to_table(columns=["text"], filter=text_equals("item_id", item_id))
        assert rows.column("text").to_pylist() == [text]


def test_the_history_of_a_user_spans_deliveries(lake: Lake) -> None:
    ids = IdMap.of(["i00", "i01", "i02"])
    vocabulary = Vocabulary(IdMap.of(["u00"]), ids, ids, [""] * 4)
    history = read_history(lake, "u00", AT, vocabulary)
    names = vocabulary.items.names(history.item_idx.astype(np.int64))
    assert names == ["i01", "i01", "i02", "i01", None]  # i09 is not in the vocabulary
    assert len(read_history(lake, "u07", AT, vocabulary)) == 1
