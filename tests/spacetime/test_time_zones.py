"""Zones by IANA name, by offset, and those that are ambiguous."""

from datetime import UTC, datetime, timedelta

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.spacetime.time_zones import zone

MOMENT = datetime(2024, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("UTC+8", 8), ("GMT+8", 8), ("+08:00", 8), ("+0800", 8), ("+08", 8), ("Etc/GMT-8", 8),
        ("asia/shanghai", 8), ("ASIA/SHANGHAI", 8), ("UTC-3:30", -3.5), ("utc", 0), ("Z", 0),
        ("America/New York", -4), ("CET", 2),
    ],
)  # fmt: skip
def test_zones(name: str, hours: float) -> None:
    assert MOMENT.astimezone(zone(name)).utcoffset() == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("name", "candidate"),
    [("CST", "Asia/Shanghai"), ("EST", "-05:00"), ("ist", "Asia/Kolkata"), ("+15:00", "+08:00")],
)
def test_ambiguous_and_unknown_zones_name_candidates(name: str, candidate: str) -> None:
    with pytest.raises(ConfigError) as error:
        zone(name)
    assert candidate in error.value.way_out
