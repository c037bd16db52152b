"""Sums over buckets of users are the counts of the whole log."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from chronotope.contracts.event_log import Int32, Int64
from chronotope.features.activity_counts import ActivityCounter
from chronotope.inference.recent_activity import RecentActivity
from chronotope.scoring.bucket_activity import GlobalActivity, RecentCounts

N_USERS, N_ITEMS, N_EVENTS, N_BUCKETS, DAY_S = 40, 12, 600, 3, 86_400


def events(seed: int) -> tuple[Int32, Int32, Int64]:
    """User, item and second of events, by user and time."""
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, N_USERS, N_EVENTS)).astype(np.int32)
    second = rng.integers(0, 90 * DAY_S, N_EVENTS)
    order = np.lexsort((second, user))
    return user, rng.integers(0, N_ITEMS, N_EVENTS).astype(np.int32), second[order]


@pytest.mark.parametrize("min_users", [1, 4])
def test_recent_activity_is_that_of_the_whole_log(min_users: int) -> None:
    user, item, _ = events(0)
    whole = RecentActivity.from_events(user, item, N_ITEMS, min_users=min_users)
    parts = [
        RecentCounts.from_events(user[of_bucket], item[of_bucket], N_ITEMS)
        for of_bucket in (user % N_BUCKETS == bucket for bucket in range(N_BUCKETS))
    ]
    activity = RecentCounts.total(parts).activity(min_users)
    assert whole.pair_next.size
    assert activity.counts.tolist() == whole.counts.tolist()
    for item_idx in range(1, N_ITEMS):
        assert activity.follows(item_idx).tolist() == sorted(whole.follows(item_idx).tolist())


def test_live_counts_are_those_of_the_whole_log() -> None:
    (user, item, second), category = events(1), np.arange(N_ITEMS) % 3
    moment_s = 60 * DAY_S
    parts = [
        ActivityCounter(user[mask], item[mask], second[mask], category).sums_at(moment_s)
        for mask in (user % N_BUCKETS == bucket for bucket in range(N_BUCKETS))
    ]
    total = parts[0] + parts[1] + parts[2]
    whole = ActivityCounter(user, item, second, category).at(moment_s)
    assert np.array_equal(total.rows(category, moment_s), whole)


def test_staged_activity_is_read_as_it_was() -> None:
    user, item, _ = events(2)
    recent = RecentCounts.from_events(user, item, N_ITEMS).activity(1)
    earlier = recent.ending(datetime(2020, 9, 13, 22, tzinfo=UTC))
    read = GlobalActivity.from_bytes(GlobalActivity(earlier, None).to_bytes())
    assert read.recent.ended_on == date(2020, 9, 13)
    for live in (None, np.ones((2, N_ITEMS), np.float32)):
        read = GlobalActivity.from_bytes(GlobalActivity(recent, live).to_bytes())
        assert read.recent.ended_on is None
        assert read.recent.pair_next.tolist() == recent.pair_next.tolist()
        assert (read.live is None) == (live is None)
        assert live is None or np.array_equal(read.live, live)
