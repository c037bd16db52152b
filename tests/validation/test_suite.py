"""Every expectation has a row that fails it, and a good row fails none."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.contracts.clock import MAX_CLOCK_SKEW
from chronotope.contracts.errors import ConfigError, DataError, StoreError, ValidationFailed
from chronotope.contracts.schemas import EVENTS
from chronotope.contracts.validation_result import Severity
from chronotope.validation import (
    build_docs,
    check_events,
    check_table,
    event_type_shares,
    gx_context,
)

SUITES = Path(__file__).parents[2] / "expectations"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = {
    "event_id": "e0",
    "user_id": "u",
    "item_id": "i",
    "event_type": "view",
    "occurred_at": NOW - timedelta(days=1),
    "utc_offset_min": 60,
    "lat": 48.2,
    "lon": 16.4,
}


def rows(*changes: dict[str, object]) -> pa.Table:
    listed = [GOOD | {"event_id": f"e{n}"} | change for n, change in enumerate(changes)]
    return pa.Table.from_pylist(listed, schema=EVENTS)


def test_good_rows_fail_nothing() -> None:
    verdict = check_events(SUITES / "events.json", checked_at=NOW)(
        rows({}, {"lat": None, "lon": None})
    )
    assert (verdict.failing.num_rows, verdict.findings, verdict.n_rows) == (0, (), 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lat": 999.0}, "latitude lies"),
        ({"lat": float("inf")}, "latitude lies"),
        ({"lat": float("nan")}, "latitude lies"),
        ({"lon": -181.0}, "longitude lies"),
        ({"lat": 139.7, "lon": 35.7}, "swapped"),
        ({"occurred_at": datetime(1970, 1, 1, tzinfo=UTC)}, "before 1990"),
        ({"occurred_at": datetime(2999, 1, 1, tzinfo=UTC)}, "in the future"),
        ({"utc_offset_min": 900}, "offset"),
        ({"user_id": ""}, "user_id has"),
        ({"item_id": "x" * 1_000_000}, "item_id has"),
        ({"event_type": ""}, "event_type has"),
        ({"event_id": ""}, "event_id has"),
    ],
)
def test_a_bad_row_fails_with_its_reason(change: dict[str, object], reason: str) -> None:
    verdict = check_events(SUITES / "events.json", checked_at=NOW)(rows({}, change, {}))
    assert verdict.failing.column("row").to_pylist() == [1]
    assert any(reason in text for text in verdict.failing.column("reasons")[0].as_py())


def test_clocks_may_run_ahead_by_the_one_bound_on_the_future() -> None:
    check = check_events(SUITES / "events.json", checked_at=NOW)
    second = timedelta(seconds=1)
    times = (NOW, NOW + MAX_CLOCK_SKEW, NOW + MAX_CLOCK_SKEW + second, NOW + timedelta(hours=1))
    verdict = check(rows(*({"occurred_at": time} for time in times)))
    assert verdict.failing.column("row").to_pylist() == [2, 3]


def test_doubles_and_unknown_items_and_old_deliveries_are_only_shown() -> None:
    check = check_events(SUITES / "events.json", checked_at=NOW, known_items=pa.array(["i"]))
    long_ago = {"occurred_at": datetime(2020, 1, 1, tzinfo=UTC), "item_id": "new"}
    verdict = check(rows(long_ago, long_ago | {"event_id": "e0"}))
    assert verdict.failing.num_rows == 0
    severities = [finding.severity for finding in verdict.findings]
    assert severities == [Severity.WARNING, Severity.INFO, Severity.INFO]


def test_a_changed_mix_of_events_is_a_warning() -> None:
    accepted = event_type_shares(rows({}, {}, {}, {"event_type": "buy"}))
    check = check_events(SUITES / "events.json", checked_at=NOW, accepted_shares=accepted)
    assert check(rows({}, {}, {"event_type": "buy"})).findings == ()
    (finding,) = check(rows({"event_type": "buy"}, {"event_type": "buy"})).findings
    assert (finding.severity, finding.column) == (Severity.WARNING, "event_type")


def test_bounds_at_the_ends_decide_as_every_row_would(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [{"lat": 999.0}, {"lat": None}, {"user_id": ""}, {"lat": 139.7, "lon": 35.7}, {}]
    check = check_events(SUITES / "events.json", checked_at=NOW, known_items=pa.array(["i"]))
    for batch in (rows(*odd), rows({}, {}), rows({"lat": float("nan")}, {"item_id": "other"})):
        quick = check(batch)
        monkeypatch.setattr(gx_context, "_BOUND_TYPES", frozenset())
        slow = check(batch)
        monkeypatch.undo()
        assert quick.failing.column("row").equals(slow.failing.column("row"))
        assert set(quick.findings) == set(slow.findings)


def test_nothing_stops_the_delivery() -> None:
    with pytest.raises(ValidationFailed, match="at least one row"):
        check_events(SUITES / "events.json", checked_at=NOW)(EVENTS.empty_table())


def test_an_expectation_that_cannot_be_computed_is_no_bad_row(tmp_path: Path) -> None:
    text = (SUITES / "users.json").read_text().replace('"user_id_length"', '"nowhere"')
    (tmp_path / "users.json").write_text(text)
    with pytest.raises(DataError, match="could not be computed"):
        check_table(tmp_path / "users.json")(pa.table({"user_id": ["u"]}))


def test_a_missing_or_broken_suite_says_what_it_should_be(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    for name in ("absent.json", "broken.json"):
        with pytest.raises(ConfigError, match="JSON file"):
            check_table(tmp_path / name)


def test_items_and_users_are_unique() -> None:
    items = pa.table({"item_id": ["a", "b", "b"], "lat": [1.0, 99.0, 2.0], "lon": [1.0, 1.0, 1.0]})
    verdict = check_table(SUITES / "items.json")(items)
    assert verdict.failing.column("row").to_pylist() == [1, 2]
    users = check_table(SUITES / "users.json")(pa.table({"user_id": ["u", "u"]}))
    assert users.failing.column("row").to_pylist() == [1]


def test_docs_are_pages(tmp_path: Path) -> None:
    suite, folder = SUITES / "events.json", tmp_path / "docs" / "city"
    for sample in (rows({}), rows({}, {"lat": 999.0})):
        index = build_docs(suite, sample, folder, checked_at=NOW)
    assert index == folder / "index.html"
    (page,) = folder.glob("validations/**/*.html")  # of the latest delivery alone
    assert "999" in page.read_text(encoding="utf-8")
    assert [path.name for path in folder.parent.iterdir()] == ["city"]


def test_docs_of_rows_that_were_all_refused_are_pages_too(tmp_path: Path) -> None:
    assert build_docs(SUITES / "events.json", rows(), tmp_path / "docs", checked_at=NOW).is_file()


def test_docs_that_cannot_be_written_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "docs").write_text("in the way")
    with pytest.raises(StoreError, match="disable data docs"):
        build_docs(SUITES / "events.json", rows({}), tmp_path / "docs" / "city", checked_at=NOW)


def test_a_suite_that_must_not_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="it is a named pipe, no regular file"):
        check_table(path)
    path.unlink()
    for text, reason in (
        ('{"name": "a", "name": "b", "expectations": []}', "key 'name' occurs twice in one object"),
        ("[" * 5_000, "levels deep"),
        ("[]", "list indices"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=reason):
            check_table(path)
