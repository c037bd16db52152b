"""The strongest EASE weights against the dense matrix; live counts end after the last event."""

import torch

from chronotope.models.baselines.ease import Ease, EaseConfig
from chronotope.models.discovery_counts import (
    MAX_AFFINE_ITEMS,
    N_AFFINE,
    activity_counter,
    count_activity,
    count_affinity,
)
from chronotope.testing.recommender_suite import sample_catalog, sample_log

CATALOG = sample_catalog()


def test_live_counts_end_after_the_last_event() -> None:
    log = sample_log()
    moment_s = int(log.occurred_s.max()) + 1
    expected = torch.from_numpy(activity_counter(log, CATALOG).at(moment_s))
    torch.testing.assert_close(count_activity(log, CATALOG), expected)
    assert not torch.equal(count_activity(log.before(moment_s - 1), CATALOG), expected)


def test_affine_items_are_the_strongest_positive_weights() -> None:
    log = sample_log()
    items, weights = count_affinity(log, CATALOG)
    assert items.shape == weights.shape == (CATALOG.n_items, N_AFFINE)
    ease = Ease(EaseConfig(max_items=MAX_AFFINE_ITEMS)).fit(log, CATALOG)
    fitted_items, dense = ease.fitted_weights()
    for position, item in enumerate(fitted_items.tolist()):
        expected = torch.zeros(CATALOG.n_items)
        expected[fitted_items] = dense[position].clamp(min=0.0)
        stored = torch.zeros(CATALOG.n_items).scatter_add(0, items[item], weights[item])
        torch.testing.assert_close(stored, expected)  # fewer items than columns: all are stored
