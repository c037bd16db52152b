"""Time formats are found by trial, and ambiguous ones are named."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.datasets.guessing.time_values import guess_times

MOMENTS = [datetime(2024, 3, 4, 8, tzinfo=UTC) + timedelta(hours=31 * n) for n in range(60)]


@pytest.mark.parametrize(
    "pattern",
    [
        "%d.%m.%Y %H:%M",
        "%d.%m.%Y %H:%M:%S",
        "%m/%d/%Y %I:%M:%S %p",
        "%d/%m/%Y %H:%M",
        "%Y/%m/%d %H:%M:%S",
        "%Y-%m-%d %H:%M:%S UTC",
        "%a %b %d %H:%M:%S %z %Y",
        "%d/%b/%Y:%H:%M:%S %z",
        "%Y年%m月%d日%H時",
        "%b %d, %Y %H:%M",
        "%Y%m%d",
        "%Y%m%d%H%M%S",
    ],
)
def test_strptime_patterns(pattern: str) -> None:
    guess = guess_times([at.strftime(pattern) for at in MOMENTS], is_named_time=False)
    assert guess is not None
    assert (guess.kind, guess.patterns) == ("strptime", (pattern,))
    assert guess.has_zone == pattern.endswith(("UTC", "%z", "%z %Y"))


@pytest.mark.parametrize(
    ("form", "has_zone"),
    [
        ("%Y-%m-%d", False),
        ("%Y-%m-%d %H:%M", False),
        ("%Y-%m-%dT%H:%M:%S.%f", False),
        ("%Y-%m-%dT%H:%M:%SZ", True),
        ("%Y-%m-%d %H:%M:%S+01:00", True),
    ],
)
def test_iso_8601(form: str, has_zone: bool) -> None:
    guess = guess_times([at.strftime(form) for at in MOMENTS], is_named_time=False)
    assert guess is not None
    assert (guess.kind, guess.patterns, guess.has_zone) == ("timestamp", (), has_zone)


@pytest.mark.parametrize(
    ("kind", "unit"),
    [("epoch_s", 1), ("epoch_ms", 10**3), ("epoch_us", 10**6), ("epoch_ns", 10**9)],
)
def test_epochs(kind: str, unit: int) -> None:
    guess = guess_times([str(int(at.timestamp()) * unit) for at in MOMENTS], is_named_time=False)
    assert guess is not None
    assert (guess.kind, guess.has_zone, guess.doubts) == (kind, True, ())


def test_epochs_of_two_units_and_as_fractions() -> None:
    seconds = [at.timestamp() for at in MOMENTS]
    mixed = [str(int(s * 1000 if n % 2 else s)) for n, s in enumerate(seconds)]
    guess = guess_times(mixed, is_named_time=True)
    assert guess is not None
    assert "several units (epoch_s, epoch_ms)" in guess.doubts[0]
    guess = guess_times([f"{s:.8e}" for s in seconds], is_named_time=True)
    assert guess is not None
    assert guess.kind == "epoch_s"


def test_day_and_month_that_may_be_swapped_are_named() -> None:
    early = [at.strftime("%m/%d/%Y %H:%M") for at in MOMENTS if at.day <= 12]
    guess = guess_times(early, is_named_time=True)
    assert guess is not None
    assert "swapped" in guess.doubts[0]


def test_formats_that_change_are_listed() -> None:
    forms = ("%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p")
    texts = [at.strftime(forms[n % 3]) for n, at in enumerate(MOMENTS)]
    guess = guess_times(texts, is_named_time=True)
    assert guess is not None
    assert set(guess.patterns) == {"ISO8601", *forms[1:]}
    assert guess.read_share == 1.0


def test_small_numbers_are_days_only_under_a_name_of_times() -> None:
    days = [str(n) for n in range(-10, 50)]
    guess = guess_times(days, is_named_time=True)
    assert guess is not None
    assert guess.kind == "days"
    assert guess_times(days, is_named_time=False) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=12) | st.none(), max_size=30), st.booleans())
def test_any_texts_are_times_or_are_not(texts: list[str | None], is_named: bool) -> None:
    guess = guess_times(texts, is_named_time=is_named)
    assert guess is None or 0.0 < guess.read_share <= 1.0
