"""Sums of clients' counts give the priors that one log of all users has."""

import numpy as np
import pytest
import torch

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.federated.counts.client_counts import (
    bin_counts,
    bin_shapes,
    flatten,
    is_plausible,
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
    clients = [
        log.take(log.user_idx % N_CLIENTS == section_number) for section_number in range(N_CLIENTS)
    ]
    end_s = int(log.occurred_s.max()) + 1
    time_bins = TimeBins.covering(int(log.occurred_s.min()), end_s, catalog.n_items)
    table_shapes = bin_shapes(time_bins, catalog.n_items)
    vector_total = sum(
        flatten(bin_counts(client, time_bins, catalog.n_items), table_shapes) for client in clients
    )
    by_bin = unflatten(vector_total, table_shapes)
    count_plan = make_plan(time_bins, by_bin["events"], (0.3, 0.6), (0.5,), max_pair_items)
    sum_tables = {f"bins/{name}": table for name, table in by_bin.items()}
    for section_name in section_names(count_plan):
        table_shapes = section_shapes(count_plan, catalog, section_name)
        vector_total = sum(
            flatten(section_counts(client, catalog, count_plan, section_name), table_shapes)
            for client in clients
        )
        sum_tables |= {
            f"{section_name}/{name}": t for name, t in unflatten(vector_total, table_shapes).items()
        }
    return FederatedCounts(count_plan, sum_tables)


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


@pytest.mark.parametrize("moment_idx", [0, 1, 2])
def test_priors_equal_those_of_one_log(
    counts: FederatedCounts, log: EventLog, moment_idx: int
) -> None:
    catalog, count_plan = sample_catalog(), counts.count_plan
    before = log.before(count_plan.time_bins.edge_s(int(count_plan.moments[moment_idx])))
    expected, priors = count_priors(before, catalog), counts.priors(moment_idx, catalog)
    for name in ("popularity", "by_hour", "next_category", "category_by_hour",
                 "place_popularity", "stickiness"):  # fmt: skip
        assert close(getattr(priors, name), getattr(expected, name)), name
    for items, values in (("next_item", "next_item_log"), ("neighbour", "neighbour_weight")):
        assert close(dense(priors, items, values), dense(expected, items, values)), items


def test_the_latest_week_and_live_counts_equal_those_of_one_log(
    counts: FederatedCounts, log: EventLog
) -> None:
    catalog = sample_catalog()
    last = len(counts.count_plan.moments) - 1
    expected, priors = count_priors(log, catalog), counts.priors(last, catalog)
    assert close(priors.popularity_week, expected.popularity_week)
    assert close(priors.activity[:-1], expected.activity[:-1])  # ages are to half a day
    assert torch.allclose(priors.activity[-1], expected.activity[-1], atol=0.08)


def test_ease_weights_equal_those_of_one_log(counts: FederatedCounts, log: EventLog) -> None:
    catalog = sample_catalog()
    expected = count_priors(log, catalog, affinity=True)
    priors = counts.priors(
        len(counts.count_plan.moments) - 1, catalog, anchor_idx=len(counts.count_plan.anchors) - 1
    )
    names = ("affinity_item", "affinity_weight")
    assert close(dense(priors, *names), dense(expected, *names))


def test_pairs_are_counted_among_the_most_popular_items(log: EventLog) -> None:
    counts = summed_counts(log, sample_catalog(), max_pair_items=2)
    popularity = np.bincount(log.item_idx)[1:]
    assert set(counts.count_plan.pair_items - 1) <= set(np.argsort(-popularity)[:3])
    priors = counts.priors(2, sample_catalog())
    item_pairs = priors.next_item[priors.next_item_log > 0]
    assert set(item_pairs.tolist()) <= set(counts.count_plan.pair_items.tolist())


def test_priors_without_any_pair_are_empty(counts: FederatedCounts) -> None:
    tables = {
        name: np.zeros_like(table) if name.endswith(("next_item", "near")) else table
        for name, table in counts.sum_tables.items()
    }
    priors = FederatedCounts(counts.count_plan, tables).priors(0, sample_catalog())
    assert not priors.next_item_log.any()
    assert not priors.neighbour_weight.any()


def test_counts_return_from_files(counts: FederatedCounts, tmp_path) -> None:
    paths = (tmp_path / "plan.npz", tmp_path / "counts.npz")
    counts.save(*paths)
    again = FederatedCounts.load(*paths)
    assert isinstance(again.count_plan, CountPlan)
    assert again.count_plan.time_bins == counts.count_plan.time_bins
    assert all((again.sum_tables[name] == table).all() for name, table in counts.sum_tables.items())


def test_counts_that_no_log_has_are_found(log: EventLog, counts: FederatedCounts) -> None:
    catalog, rng = sample_catalog(), np.random.default_rng(0)
    honest = {"bins": bin_counts(log, counts.count_plan.time_bins, catalog.n_items)}
    for section in ("moment-1", "anchor-0"):
        honest[section] = section_counts(log, catalog, counts.count_plan, section)
    for section, tables in honest.items():
        shuffled = {name: rng.permutation(table.ravel()) for name, table in tables.items()}
        assert is_plausible(section, tables)
        assert not is_plausible(section, shuffled)
        assert not is_plausible(section, {name: -1 - table for name, table in tables.items()})


def test_long_logs_have_bins_of_several_days() -> None:
    time_bins = TimeBins.covering(0, 10_000 * 86_400, n_items=10_000)
    assert time_bins.n_bins * 10_000 <= 20_000_000
    assert time_bins.edge_s(time_bins.n_bins) == 10_000 * 86_400
    assert time_bins.width(1) == 1
