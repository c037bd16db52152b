"""Whatever is delivered: a clear error and nothing written, or quarantined rows with reasons."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.features.snapshot import load_features
from tests.behaviour.shop import GOOD, NAMES, Shop, refusal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]
HEAD = ",".join(NAMES)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "The file is empty"),
        (HEAD.encode() + b"\n", "has no rows"),
        (b"user,article,at\nann,tea,2024-01-01\n", "Columns missing"),
        (b"\x00\x01\x02 no table at all", "contains zero bytes"),
        (HEAD.encode() + "\nann,café,2024-01-01,,,\n".encode("latin-1"), "encoding"),
    ],
    ids=["missing", "empty", "header only", "wrong columns", "no table", "bad encoding"],
)
def test_a_file_that_cannot_be_used_is_refused(
    shop: Shop, content: bytes | None, told: str
) -> None:
    if content is not None:
        shop.log.write_bytes(content)
    assert told in refusal(shop.call("ingest"))
    assert not shop.lake.exists("events")


def test_truncated_parquet_is_refused(shop: Shop) -> None:
    path = shop.folder / "log.parquet"
    pq.write_table(pa.Table.from_pylist([dict(zip(NAMES, row, strict=True)) for row in GOOD]), path)
    assert shop.call("ingest", kind="parquet").exit_code == 0
    whole = path.read_bytes()
    for share in (0.0, 0.5, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        refusal(shop.call("ingest", kind="parquet"))
    assert len(shop.lake.read("events")) == len(GOOD)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("u" * 1_000_000, "tea", "2024-01-03", "", "", ""), "user_id has more"),
        (("ann", "i" * 1_000_000, "2024-01-03", "", "", ""), "item_id has more"),
        (("ann", "tea", "t" * 1_000_000, "", "", ""), "occurred_at is longer"),
        (("ann", "tea", "2024-01-03", "", "", "-inf"), "value is not finite"),
        (("ann", "tea", "2024-01-03", "north", "16.4", ""), "lat is not a number"),
        (("ann", "tea", "2024-01-03", "999", "16.4", ""), "latitude lies"),
        (("ann", "tea", "2024-01-03", "139.7", "35.7", ""), "not swapped"),
        (("ann", "tea", "1970-01-01", "", "", ""), "before 1990"),
        (("ann", "tea", "2999-01-01", "", "", ""), "in the future"),
        (("ann", "tea", "2024-03-31T02:30", "", "", ""), "does not exist on the clocks"),
        (("", "", "", "", "", ""), "user_id is missing"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_row_is_quarantined_with_its_reason(
    shop: Shop, row: tuple[str, ...], reason: str
) -> None:
    shop.write(*GOOD, row)
    found = shop.ingest()
    assert (found["n_read"], found["n_good"], found["n_quarantined"]) == (4, 3, 1)
    (kept,) = shop.lake.read("quarantine").to_pylist()
    assert any(reason in why for why in kept["reasons"]), kept["reasons"]
    assert json.loads(kept["payload"])["user_id"] == (row[0] or None)


@pytest.mark.parametrize(
    "row",
    [
        ("ann", "tea", "2024-01-03", "", "", "NaN"),
        ("ann", "tea", "2024-01-03", "nan", "NaN", "-"),
    ],
)
def test_a_number_that_is_stated_missing_is_missing(shop: Shop, row: tuple[str, ...]) -> None:
    shop.write(*GOOD, row)
    found = shop.ingest()
    assert (found["n_read"], found["n_good"], found["n_quarantined"]) == (4, 4, 0)
    events = shop.lake.read("events").to_pylist()
    stored = max(events, key=lambda event: event["occurred_at"])
    assert (stored["lat"], stored["value"]) == (None, None)


def test_when_every_row_is_bad_the_error_says_so_and_the_rows_are_kept(shop: Shop) -> None:
    shop.write(("ann", "tea", "2999-01-01", "", "", ""), ("ann", "tea", "no time", "", "", ""))
    message = refusal(shop.call("ingest"))
    assert "All 2 rows were refused" in message
    assert "first row: {" in message
    assert len(shop.lake.read("quarantine")) == 2
    assert not shop.lake.exists("events")


def test_swapped_places_that_could_be_places_stop_the_delivery(shop: Shop) -> None:
    days = [f"2024-01-{day:02d}T08:00:00Z" for day in range(1, 29)]
    shop.write(*(("ann", "tea", day, 40.7, -74.0, 1) for day in days))
    shop.ingest()
    shop.write(*(("bob", "tea", day, -74.0, 40.7, 1) for day in days))
    assert "swapped" in refusal(shop.call("ingest"))
    assert len(shop.lake.read("events")) == len(days)


def test_mixed_zones_become_the_same_instant(shop: Shop) -> None:
    clocks = ("08:00:00Z", "09:00:00+01:00", "03:00-05:00", "09:00")  # the last in Vienna
    shop.write(*((f"u{n}", "tea", f"2024-01-05T{at}", "", "", "") for n, at in enumerate(clocks)))
    assert shop.ingest()["n_good"] == 4
    found = set(shop.lake.read("events").column("occurred_at").to_pylist())
    assert found == {datetime(2024, 1, 5, 8, tzinfo=UTC)}


def test_a_delivery_twice_changes_nothing(shop: Shop) -> None:
    shop.write(*GOOD, GOOD[0], ("", "tea", "2024-01-03", "", "", ""))
    first, second = shop.ingest(), shop.ingest()
    assert (first["n_duplicates"], second["n_duplicates"]) == (1, 4)
    assert len(shop.lake.read("events")) == len(GOOD)
    assert len(shop.lake.read("quarantine")) == 1
    assert len(list((shop.root / "data" / "features" / "shop").iterdir())) == 1


def test_late_rows_are_merged_and_history_is_in_order(shop: Shop) -> None:
    days = [("ann", f"i{day}", f"2024-01-0{day}T08:00:00Z", "", "", "") for day in range(1, 7)]
    for delivery in (days[3:], days[:3]):
        shop.write(*delivery)
        found = shop.ingest()
        assert found["n_good"] == 3
    log, catalog = load_features(Path(found["features"]))
    assert (log.occurred_s[1:] > log.occurred_s[:-1]).all()
    items = [catalog.items.name(at) for at in log.item_idx]
    assert items == [f"i{day}" for day in range(1, 7)]


def test_users_with_one_event_are_too_little_to_train_on(shop: Shop) -> None:
    shop.write(*((f"u{n}", f"i{n % 5}", hour(n), "", "", "") for n in range(60)))
    assert "users with a history" in refusal(shop.train())
    assert len(shop.lake.read("events")) == 60


def test_one_user_with_one_item_gets_a_model_that_wins_nothing(shop: Shop) -> None:
    shop.write(*(("ann", "tea", hour(n), "", "", "") for n in range(120)))
    done = shop.train("--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["evaluation"]["metrics"]["challenger"]["acc_1"] == 1.0
    assert not result["promotion"]["promoted"]


def hour(n: int) -> str:
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=5 * n)).isoformat()
