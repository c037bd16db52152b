"""Partial dependences follow what a hand-made model depends on."""

import numpy as np
import pytest

from chronotope.contracts.event_log import Float32
from chronotope.contracts.queries import Queries, queries_at
from chronotope.pipelines.responsibility.partial_dependence import (
    GAPS_H,
    HOURS,
    NEW,
    OWN,
    TARGET,
    DependenceSample,
    at_gaps,
    at_hours,
    partial_dependences,
)
from chronotope.testing.recommender_suite import sample_catalog, sample_log

CATALOG, LOG = sample_catalog(), sample_log()
POSITIONS = np.flatnonzero(LOG.basket_start() > LOG.user_start())[::5]
QUERIES = queries_at(LOG, POSITIONS, history_len=12, time_given=True)


def local_hour(queries: Queries) -> np.ndarray:
    return (queries.request_s + 60 * queries.request_offset_min) // 3600 % 24


def by_hour_gap_and_neighbour(queries: Queries) -> Float32:
    """Returns by day, less the longer the gap; new items are likelier the closer in number."""
    gap_h = (queries.request_s - queries.occurred_s[:, -1]) / 3600
    bonus = 2.0 * ((local_hour(queries) >= 8) & (local_hour(queries) < 20)) - 0.01 * gap_h
    last = queries.item_idx[:, -1:]
    logits = -0.3 * np.abs(np.arange(CATALOG.n_items)[None] - last).astype(np.float32)
    rows = np.arange(len(queries))[:, None]
    logits[rows, queries.item_idx] += np.float32(bonus)[:, None]
    return logits.astype(np.float32)


def test_queries_are_moved_to_each_hour_and_gap_and_nothing_else() -> None:
    for hour, moved in zip(HOURS, at_hours(QUERIES), strict=True):
        assert set(local_hour(moved)) == {hour}
        assert (moved.request_s == QUERIES.request_s).all()
    for gap, moved in zip(GAPS_H, at_gaps(QUERIES), strict=True):
        assert set(moved.request_s - moved.occurred_s[:, -1]) == {int(3600 * gap)}
        assert (moved.request_offset_min == QUERIES.request_offset_min).all()


@pytest.mark.parametrize("max_scores", [1, 10**6], ids=["one by one", "together"])
def test_curves_show_what_the_model_depends_on(
    max_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "chronotope.pipelines.responsibility.partial_dependence"
    monkeypatch.setattr(f"{module}.MAX_SCORES", max_scores)
    target_idx = LOG.item_idx[POSITIONS].astype(np.int64)
    sample = DependenceSample(by_hour_gap_and_neighbour, QUERIES, target_idx, CATALOG.n_items)
    hour, gap, distance = partial_dependences(sample, CATALOG)
    by_day = np.array([8 <= h < 20 for h in HOURS])
    own = np.array(hour.lines[OWN])
    assert own[by_day].min() > own[~by_day].max() + 0.1
    whole_days = np.array(gap.lines[OWN])[[g % 24 == 0 for g in GAPS_H]]  # the hour stays
    assert len(whole_days) > 3
    assert (np.diff(whole_days) < 0).all()
    assert all(0 < value < 1 for value in gap.lines[TARGET] if value is not None)
    known = [value for value in distance.lines[NEW] if value is not None]
    assert known[0] > 1 > known[-1]
