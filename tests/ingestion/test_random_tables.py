"""Logs in Postgres with random column types: the same events reach the lake, or are refused."""

import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import ingest
from chronotope.ingestion.source_batches import read_batches
from chronotope.lake import Lake
from chronotope.pipelines.ingest_checks import batch_check
from tests.postgres import Postgres, postgres

pytestmark = pytest.mark.slow

ID_TYPES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text("aZ09\u00e9\u4f1a ,'\\/", max_size=8).map(lambda text: f"x{text}y"),
    "varchar(20)": st.text("aZ09", max_size=8).map(lambda text: f"x{text}y"),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "uuid": st.uuids(),
    "numeric(30,0)": st.integers(-(10**29), 10**29).map(Decimal),
    "bytea": st.text("aZ09\u00e9", max_size=8).map(lambda text: f"x{text}y".encode()),
    "double precision": st.integers(-(2**52), 2**52).map(float),
}

TIME_TYPES: dict[str, tuple[dict[str, str], Callable[[datetime], Any]]] = {
    "timestamptz": ({"timezone": "Asia/Tokyo"}, lambda at: at),
    "timestamp": ({}, lambda at: at.replace(tzinfo=None)),
    "text": ({"timezone": "Asia/Tokyo"}, lambda at: at.isoformat()),
    "bigint": ({"kind": "epoch_ms"}, lambda at: int(at.timestamp()) * 1_000),
    "double precision": ({"kind": "epoch_s"}, lambda at: at.timestamp()),
}
"""Settings of the time column, and the value of a time."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        running.url("log")
        yield running


def exact_text(value: object) -> str:
    """The id that a value of the database stands for."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float | Decimal):
        return str(int(value))
    return str(value) if not isinstance(value, uuid.UUID) else str(value).lower()


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_events_of_a_table_reach_the_lake(server: Postgres, data: st.DataObject) -> None:
    user_type, item_type = (data.draw(st.sampled_from(sorted(ID_TYPES))) for _ in range(2))
    time_type = data.draw(st.sampled_from(sorted(TIME_TYPES)))
    time_settings, stored_time = TIME_TYPES[time_type]
    instants = st.integers(662_688_000, 1_700_000_000).map(
        lambda second: datetime.fromtimestamp(second, UTC)
    )
    rows = data.draw(
        st.lists(
            st.tuples(ID_TYPES[user_type], ID_TYPES[item_type], instants), min_size=1, max_size=8
        )
    )
    n_missing = data.draw(st.integers(0, 3))
    stored_rows = [(user, item, stored_time(at)) for user, item, at in rows]
    stored_rows += [(None, item, at) for _, item, at in stored_rows[:n_missing]]
    with server.connected("log") as connection:
        connection.execute("DROP TABLE IF EXISTS visits")
        connection.execute(
            f"CREATE TABLE visits (who {user_type}, what {item_type}, at {time_type})"
        )
        connection.cursor().executemany("INSERT INTO visits VALUES (%s, %s, %s)", stored_rows)
    table = {
        "format": "sql",
        "url": server.url("log"),
        "query": "SELECT who, what, at FROM visits",
        "columns": {"user_id": "who", "item_id": "what", "occurred_at": "at"},
    }
    spec = DatasetSpec.model_validate(
        {"name": "t", "description": "", "licence": "", "time": time_settings, "events": table}
    )
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        row_check = batch_check(lake, Path("expectations"))
        batches = read_batches(spec, 1_000)
        report = ingest(batches, row_check=row_check, lake=lake, run_id="r", source="s")
        events = lake.read("events", columns=["user_id", "item_id", "occurred_at"]).to_pylist()
    assert (report.n_read, report.n_quarantined) == (len(stored_rows), len(stored_rows) - len(rows))
    expected = {(exact_text(user), exact_text(item), at) for user, item, at in rows}
    assert Counter(tuple(event.values()) for event in events) == Counter(expected)
