"""Spans of targets are those of the whole log, whatever the size of the blocks."""

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.metrics import target_spans
from chronotope.metrics.target_spans import FirstEvents, TargetSpans, basket_ends


@pytest.fixture(scope="module")
def log() -> EventLog:
    """Users with 1 to 60 events, with baskets and returns."""
    rng = np.random.default_rng(0)
    user_idx = np.repeat(np.arange(1, 41), rng.integers(1, 60, 40))
    times = rng.integers(0, 30, len(user_idx))
    return EventLog.sorted(
        user_idx=user_idx, item_idx=rng.integers(1, 9, len(user_idx)), occurred_s=times
    )


@pytest.mark.parametrize("block_events", [1, 50, 10_000])
@pytest.mark.parametrize("share", [0.02, 1.0], ids=["few", "all"])
def test_spans_in_blocks_are_those_of_the_log(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, block_events: int, share: float
) -> None:
    monkeypatch.setattr(target_spans, "_BLOCK_EVENTS", block_events)
    rng = np.random.default_rng(1)
    positions = rng.permutation(len(log))[: int(share * len(log))]
    spans, firsts = TargetSpans.of(log, positions), FirstEvents.of(log, positions)
    np.testing.assert_array_equal(spans.user_start, log.user_start()[positions])
    np.testing.assert_array_equal(spans.basket_start, log.basket_start()[positions])
    ends = basket_ends(log, log.basket_start())
    np.testing.assert_array_equal(spans.basket_end, ends[positions])
    pairs = list(zip(log.user_idx.tolist(), log.item_idx.tolist(), strict=True))
    first_of = {pair: row for row, pair in reversed(list(enumerate(pairs)))}
    assert firsts.of_target.tolist() == [first_of[pairs[row]] for row in positions]
    of_users = np.isin(log.user_idx, log.user_idx[positions])
    is_first = np.array([first_of[pair] == row for row, pair in enumerate(pairs)])
    np.testing.assert_array_equal(firsts.is_first[of_users], is_first[of_users])


def test_no_targets_have_no_spans(log: EventLog) -> None:
    nobody = np.zeros(0, np.int64)
    assert len(TargetSpans.of(log, nobody).user_start) == 0
    assert not FirstEvents.of(log, nobody).is_first.any()
