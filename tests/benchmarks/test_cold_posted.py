"""Films that are held out as if they were posted after the training."""

from dataclasses import replace

import numpy as np

from benchmarks.cold_posted import LIKED, posted_items
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.testing.recommender_suite import sample_catalog

N_EVENTS, N_USERS = 1_200, 20


def rated_log(catalog: Catalog) -> EventLog:
    rng = np.random.default_rng(0)
    item_idx = rng.integers(1, catalog.n_items, N_EVENTS)
    log = EventLog.sorted(
        user_idx=rng.integers(1, N_USERS, N_EVENTS),
        item_idx=item_idx,
        place_idx=np.zeros_like(item_idx),
        occurred_s=1_600_000_000 + rng.integers(0, 10_000_000, N_EVENTS),
    )
    return replace(log, value=rng.integers(1, 6, len(log)).astype(np.float32))


def test_posted_items_have_no_events_before_the_cut() -> None:
    catalog = sample_catalog()
    log = rated_log(catalog)
    task = posted_items(log, catalog)
    cut_s = int(np.quantile(log.occurred_s, 0.85))
    assert 0 < task.is_late.sum() < catalog.n_items
    assert not task.is_late[task.train.item_idx].any()
    assert task.train.occurred_s.max() < cut_s
    targets, rest = task.log.take(task.targets), task.log.take(task.every_target)
    assert len(targets)
    assert task.is_late[targets.item_idx].all()
    assert (targets.value >= LIKED).all()
    assert not task.is_late[rest.item_idx].any()
    assert min(targets.occurred_s.min(), rest.occurred_s.min()) >= cut_s
    n_before = ((log.occurred_s < cut_s) & ~task.is_late[log.item_idx]).sum()
    assert len(task.train) == n_before  # those of all other items are there
    again = posted_items(log, catalog)
    np.testing.assert_array_equal(again.targets, task.targets)
