"""Each kind of noise is found where it was planted, and nowhere else."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pydantic import ValidationError

from chronotope.contracts.schemas import EVENTS
from chronotope.ingestion import NoiseConfig, filter_noise
from chronotope.ingestion.noise import COLUMNS

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def log(*rows: tuple[str, str, float, float | None]) -> pa.Table:
    """Rows of (user, item, minutes, longitude on the equator)."""
    listed = [
        {
            "event_id": str(n),
            "user_id": user,
            "item_id": item,
            "event_type": "view",
            "occurred_at": T0 + timedelta(minutes=minutes),
            "lat": None if lon is None else 0.0,
            "lon": lon,
        }
        for n, (user, item, minutes, lon) in enumerate(rows)
    ]
    return pa.Table.from_pylist(listed, schema=EVENTS)


def test_clean_events_in_any_order_stay() -> None:
    events = log(("u", "i", 60, 1.0), ("v", "i", 0, 90.0), ("u", "i", 0, 0.0), ("u", "j", 30, None))
    keep, report = filter_noise(events, NoiseConfig())
    assert keep.all()
    assert report.dropped == {"repeat": 0, "speed": 0, "rate": 0, "core": 0}


def test_a_repeat_is_dropped_only_when_asked_for() -> None:
    events = log(("u", "i", 1, None), ("u", "i", 0, None), ("u", "j", 0, None))
    assert filter_noise(events, NoiseConfig())[0].all()
    keep, _ = filter_noise(events, NoiseConfig(repeat_s=60))
    assert keep.tolist() == [False, True, True]


def test_ten_degrees_in_an_hour_is_impossible() -> None:
    # One degree on the equator is 111.2 km: 8 degrees an hour pass, 10 do not.
    events = log(("u", "i", 0, 0.0), ("u", "i", 60, 8.0), ("u", "i", 120, 18.0))
    keep, report = filter_noise(events, NoiseConfig())
    assert (keep.tolist(), report.dropped["speed"]) == ([True, True, False], 1)


def test_a_machine_is_dropped_in_its_hour() -> None:
    events = log(*(("bot", "i", n, None) for n in range(6)), ("bot", "i", 90, None))
    keep, report = filter_noise(events, NoiseConfig(max_events_per_h=5))
    assert (keep.sum(), report.dropped["rate"], report.n_kept) == (1, 6, 1)


def test_users_and_hours_are_counted_apart_before_1970_too() -> None:
    moments = [-90.0, -61.0, -60.0, 0.0, 1.0]  # minutes: hours -2, -2, -1, 0 and 0
    users = ["u", "v"]
    events = log(*((user, "i", at - T0.timestamp() / 60, None) for user in users for at in moments))
    keep, _ = filter_noise(events.select(COLUMNS), NoiseConfig(max_events_per_h=1))
    assert keep.tolist() == [False, False, True, False, False] * 2


def test_core_drops_until_stable() -> None:
    events = log(
        ("u", "i", 0, None), ("u", "j", 1, None), ("v", "i", 2, None), ("v", "j", 3, None),
        ("w", "i", 4, None),
    )  # fmt: skip
    keep, _ = filter_noise(events, NoiseConfig(min_events=2))
    assert keep.tolist() == [True, True, True, True, False]


def test_no_events_are_no_error() -> None:
    keep, report = filter_noise(EVENTS.empty_table(), NoiseConfig(min_events=2, repeat_s=1))
    assert (len(keep), report.n_events) == (0, 0)


def test_unknown_or_impossible_settings_are_refused() -> None:
    with pytest.raises(ValidationError):
        NoiseConfig(max_speed_km_h=-1)
