"""Sums of clients' counts give the priors that one log of all users has."""

import numpy as np
import pytest
import torch

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.federated.counts.client_counts import (
    bin_counts,
    bin_shapes,
    flatten,
    section_counts,
    section_names,
    section_shapes,
    unflatten,
)
from chronotope.federated.counts.federated_priors import FederatedCounts
from chronotope.federated.counts.plan import CountPlan, TimeBins, make_plan
from chronotope.models.priors import Priors, count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log

N_CLIENTS = 3


def summed_counts(log: EventLog, catalog: Catalog, max_pair_items: int = 100) -> FederatedCounts:
    """Counts as sums over clients, each with every third user."""
    clients = [log.take(log.user_idx % N_CLIENTS == number) for number in range(N_CLIENTS)]
    end_s = int(log.occurred_s.max()) + 1
    bins = TimeBins.covering(int(log.occurred_s.min()), end_s, catalog.n_items)
    shapes = bin_shapes(bins, catalog.n_items)
    total = sum(flatten(bin_counts(client, bins, catalog.n_items), shapes) for client in clients)
    by_bin = unflatten(total, shapes)
    plan = make_plan(bins, by_bin["events"], (0.3, 0.6), (0.5,), max_pair_items)
    tables = {f"bins/{name}": table for name, table in by_bin.items()}
    for section in section_names(plan):
        shapes = section_shapes(plan, catalog, section)
        total = sum(
            flatten(section_counts(client, catalog, plan, section), shapes) for client in clients
        )
        tables |= {f"{section}/{name}": t for name, t in unflatten(total, shapes).items()}
    return FederatedCounts(plan, tables)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return sample_log()


@pytest.fixture(scope="module")
def counts(log: EventLog) -> FederatedCounts:
    return summed_counts(log, sample_catalog())


def close(left: torch.Tensor, right: torch.Tensor) -> bool:
    return bool(torch.allclose(left.double(), right.double(), atol=1e-5))


def dense(priors: Priors, items: str, values: str) -> torch.Tensor:
    """Tables of pairs as a matrix: ties may be in another order."""
    item_idx, weights = getattr(priors, items), getattr(priors, values)
    n = len(item_idx)
    return torch.zeros(n, n).scatter_add(1, item_idx, weights)


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_priors_equal_those_of_one_log(counts: FederatedCounts, log: EventLog, moment: int) -> None:
    catalog, plan = sample_catalog(), counts.plan
    before = log.before(plan.bins.edge_s(int(plan.moments[moment])))
    expected, priors = count_priors(before, catalog), counts.priors(moment, catalog)
    for name in ("popularity", "by_hour", "next_category", "category_by_hour",
                 "place_popularity", "stickiness"):  # fmt: skip
        assert close(getattr(priors, name), getattr(expected, name)), name
    for items, values in (("next_item", "next_item_log"), ("neighbour", "neighbour_weight")):
        assert close(dense(priors, items, values), dense(expected, items, values)), items


def test_the_latest_week_and_live_counts_equal_those_of_one_log(
    counts: FederatedCounts, log: EventLog
) -> None:
    catalog = sample_catalog()
    last = len(counts.plan.moments) - 1
    expected, priors = count_priors(log, catalog), counts.priors(last, catalog)
    assert close(priors.popularity_week, expected.popularity_week)
    assert close(priors.activity[:-1], expected.activity[:-1])  # ages are to half a day
    assert torch.allclose(priors.activity[-1], expected.activity[-1], atol=0.08)


def test_ease_weights_equal_those_of_one_log(counts: FederatedCounts, log: EventLog) -> None:
    catalog = sample_catalog()
    expected = count_priors(log, catalog, affinity=True)
    priors = counts.priors(
        len(counts.plan.moments) - 1, catalog, anchor=len(counts.plan.anchors) - 1
    )
    names = ("affinity_item", "affinity_weight")
    assert close(dense(priors, *names), dense(expected, *names))


def test_pairs_are_counted_among_the_most_popular_items(log: EventLog) -> None:
    counts = summed_counts(log, sample_catalog(), max_pair_items=2)
    popularity = np.bincount(log.item_idx)[1:]
    assert set(counts.plan.pair_items - 1) <= set(np.argsort(-popularity)[:3])
    priors = counts.priors(2, sample_catalog())
    pairs = priors.next_item[priors.next_item_log > 0]
    assert set(pairs.tolist()) <= set(counts.plan.pair_items.tolist())


def test_counts_return_from_files(counts: FederatedCounts, tmp_path) -> None:
    paths = (tmp_path / "plan.npz", tmp_path / "counts.npz")
    counts.save(*paths)
    again = FederatedCounts.load(*paths)
    assert isinstance(again.plan, CountPlan)
    assert again.plan.bins == counts.plan.bins
    assert all((again.tables[name] == table).all() for name, table in counts.tables.items())


def test_long_logs_have_bins_of_several_days() -> None:
    bins = TimeBins.covering(0, 10_000 * 86_400, n_items=10_000)
    assert bins.n_bins * 10_000 <= 20_000_000
    assert bins.edge_s(bins.n_bins) == 10_000 * 86_400
    assert bins.width(1) == 1
