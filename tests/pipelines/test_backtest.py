"""A period falls into chunks that cover it once; what was seen in training does not count."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chronotope.pipelines.backtest import (
    METRICS,
    BacktestChunk,
    BacktestConfig,
    format_minute,
    mean_metrics,
    seen_in_training,
    split_period,
)
from chronotope.pipelines.results import ChunkMetrics, Predictor

DAY_S = 86_400


@given(st.dates(date(1971, 1, 1), date(2100, 1, 1)), st.integers(1, 400), st.integers(5, 900))
def test_chunks_cover_the_period_once(start: date, n_days: int, chunk_h: int) -> None:
    period = BacktestConfig(start=start, end=start + timedelta(days=n_days), chunk_h=chunk_h)
    chunks = split_period(period)
    assert chunks[-1].end_s - chunks[0].start_s == n_days * DAY_S
    assert [chunk.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    for one, other in pairwise(chunks):
        assert (one.end_s, one.end_s - one.start_s) == (other.start_s, 3_600 * chunk_h)
    assert 0 < chunks[-1].end_s - chunks[-1].start_s <= 3_600 * chunk_h


def test_days_begin_at_midnight_utc() -> None:
    (chunk,) = split_period(BacktestConfig(start=date(2024, 2, 28), end=date(2024, 3, 1)))
    assert (format_minute(chunk.start_s), format_minute(chunk.end_s)) == (
        "2024-02-28 00:00",
        "2024-03-01 00:00",
    )


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"end": date(2024, 1, 1)}, "must be later than the start"),
        ({"end": date(2034, 1, 1), "chunk_h": 1}, "more than 2,000 chunks"),
        ({"end": date(2024, 2, 1), "version": "champion"}, "pattern"),
    ],
)
def test_a_period_that_is_none_is_refused(told: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        BacktestConfig.model_validate({"start": date(2024, 1, 1), **told})


@pytest.mark.parametrize(("until", "seen"), [(99, False), (100, True), (150, True), (250, True)])
def test_a_chunk_is_seen_if_training_reached_into_it(until: int, seen: bool) -> None:
    assert (
        seen_in_training(
            BacktestChunk(1, 100, 200), Predictor(version="1", bundle=Path(), trained_until_s=until)
        )
        is seen
    )


def row(n: int, value: float | None, *, seen: bool = False) -> ChunkMetrics:
    sizes = {"n_events": n, "n_targets": n, "n_return": n, "n_discovery": 0, "seen": seen}
    metrics = {**dict.fromkeys(METRICS, value), "discovery_acc_10": None}
    return ChunkMetrics.model_validate(metrics | sizes)


def test_the_mean_is_over_targets_that_were_not_seen() -> None:
    found = mean_metrics([row(9, 1.0, seen=True), row(1, 0.5), row(3, 0.1), row(0, None)])
    assert found["n_targets"] == 4
    assert found["acc_1"] == pytest.approx(0.2)
    assert found["discovery_acc_10"] is None
    assert mean_metrics([row(9, 1.0, seen=True)])["mrr"] is None
