"""A delivery as a whole is compared with what was accepted before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.errors import ValidationFailed
from chronotope.contracts.schemas import EVENTS, INSTANT
from chronotope.contracts.validation_result import FailedExpectation, Severity
from chronotope.validation import check_events, profile_rows

SUITE = Path(__file__).parents[2] / "expectations" / "events.json"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(n: int = 1000, *, seed: int = 0, hour: int = 0, scale: float = 1.0) -> pa.Table:
    """Events near Vienna in the twelve local hours from ``hour`` on."""
    rng = np.random.default_rng(seed)
    midnight = int((NOW - timedelta(days=9)).timestamp())
    local = midnight + rng.integers(0, 7, n) * 86_400 + (hour + rng.integers(0, 12, n)) * 3600
    columns = {
        "event_id": pa.array(np.arange(n)).cast(pa.string()),
        "occurred_at": pa.array((local - 3600) * 1_000_000).cast(INSTANT),
        "utc_offset_min": pa.array(np.full(n, 60), pa.int32()),
        "lat": pa.array(rng.uniform(48.1, 48.3, n)),
        "lon": pa.array(rng.uniform(16.2, 16.5, n)),
        "value": pa.array(scale * rng.lognormal(size=n)),
    }
    columns |= {name: pa.repeat("x", n) for name in ("user_id", "item_id", "event_type")}
    empty = pa.nulls(n, pa.string())
    return pa.table([columns.get(name, empty) for name in EVENTS.names], schema=EVENTS)


def swapped(table: pa.Table) -> pa.Table:
    lat, lon = EVENTS.get_field_index("lat"), EVENTS.get_field_index("lon")
    turned = table.set_column(lat, EVENTS.field("lat"), table.column("lon"))
    return turned.set_column(lon, EVENTS.field("lon"), table.column("lat"))


def findings(
    *batches: pa.Table, n_last: int = 1000, items: pa.Table | None = None
) -> list[FailedExpectation]:
    earlier = [] if items is not None else rows(4000, seed=1).to_batches()
    profile = profile_rows(earlier, items=items, n_last=n_last)
    check = check_events(SUITE, checked_at=NOW, batch_profile=profile)
    for batch in batches:
        assert check(batch).failing.num_rows == 0
    return list(check.delivery_findings())


def test_more_of_the_same_is_no_finding() -> None:
    assert findings(rows(seed=2), rows(seed=3)) == []


def test_a_first_delivery_has_nothing_to_differ_from() -> None:
    check = check_events(SUITE, checked_at=NOW, batch_profile=profile_rows([]))
    check(rows())
    assert check.delivery_findings() == ()


def test_a_few_swapped_rows_are_a_warning() -> None:
    (finding,) = findings(rows(seed=2), swapped(rows(9)))
    assert (finding.severity, finding.n_unexpected) == (Severity.WARNING, 9)
    assert finding.observed == "9 of 1009 located rows"


def test_a_swapped_delivery_stops() -> None:
    with pytest.raises(ValidationFailed, match=r"swapped.*901 of 1000.*swap lat and lon"):
        findings(rows(99), swapped(rows(901)))


def test_the_catalogue_tells_where_rows_lie_before_there_are_events() -> None:
    catalogue = rows(50).select(["item_id", "lat", "lon"])
    with pytest.raises(ValidationFailed, match="swapped"):
        findings(swapped(rows(10)), items=catalogue)


def test_rows_elsewhere_are_not_called_swapped() -> None:
    table = rows()
    lat = EVENTS.get_field_index("lat")
    sydney = pa.array(np.full(len(table), -33.9))
    assert findings(table.set_column(lat, EVENTS.field("lat"), sydney)) == []


@pytest.mark.parametrize(
    ("n_last", "told"), [(99, True), (101, False), (9999, False), (10001, True)]
)
def test_volume_is_compared_with_the_last_delivery(n_last: int, told: bool) -> None:
    found = findings(rows(), n_last=n_last)
    assert [finding.observed for finding in found] == [f"1000 rows after {n_last}"] * told


def test_other_hours_and_other_values_are_warnings() -> None:
    (hours,) = findings(rows(hour=6))
    (values,) = findings(rows(scale=5.0))
    assert (hours.column, values.column) == ("occurred_at", "value")
    assert "PSI" in hours.observed
    assert findings(rows(30, hour=6), n_last=30) == []
