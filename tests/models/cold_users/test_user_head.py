"""The user head: zero where nothing is known of a user, and the same in the exported graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.export import export_onnx
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.queries import Queries, queries_at
from chronotope.contracts.user_attributes import AttributeColumn, UserAttributes, context_columns
from chronotope.models.batch import to_batch
from chronotope.models.cold_users.user_head import FADES, MAX_EVENTS, fade_weights, read_attributes
from chronotope.models.cold_users.user_tables import count_user_tables
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import N_ITEMS, N_USERS, sample_catalog, sample_log

CONFIG = ModelConfig(history_len=40, kernel_len=8, context=("rain",))
COLUMNS = (
    AttributeColumn(name="group", first=1, levels=("young", "old")),
    AttributeColumn(name="age", first=3, levels=("below 30", "30 or more"), edges=(30.0,)),
)
CODES = np.r_[[[0, 0]], np.stack([1 + np.arange(N_USERS) % 2, 3 + np.arange(N_USERS) % 2], 1)]
CATALOG = replace(
    sample_catalog(),
    items_are_places=False,
    user_attributes=UserAttributes(COLUMNS, CODES.astype(np.int32)),
)
PRIORS = count_priors(sample_log(), CATALOG)
NAMES = (*CONFIG.context, *context_columns(COLUMNS))


def network(catalog: Catalog = CATALOG, *, active: bool = True) -> ChronotopeNet:
    """A network whose head has counted tables and weights of every kind."""
    torch.manual_seed(0)
    net = ChronotopeNet(CONFIG, catalog).eval()
    assert net.user_head is not None
    count_user_tables(sample_log(), catalog).write_to(net.user_head)
    for weights in net.user_head.fitted():
        weights.copy_(torch.rand(weights.shape) + 0.5)
    net.user_head.active = active
    return net


def new_user(*, place: int = 0, **levels: float) -> Queries:
    """One query of a user without events."""
    queries = queries_at(sample_log(), np.array([0]), history_len=1, time_given=True)
    assert queries.item_idx.tolist() == [[0]]
    context = {f"user.{name}": np.array([level], np.float32) for name, level in levels.items()}
    return replace(
        queries, request_place_idx=np.array([place], np.int32), context=queries.context | context
    )


def scores(net: ChronotopeNet, queries: Queries) -> torch.Tensor:
    with torch.no_grad():
        return net.item_scores(to_batch(queries, 40, NAMES), PRIORS)


def test_the_second_fade_falls_from_the_first_event_to_exactly_zero() -> None:
    n_events = torch.tensor([0.0, 1.0, 2.0, 31.0, float(MAX_EVENTS), 500.0])
    empty, few = fade_weights(n_events, torch.tensor(0.7)).T
    assert empty.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert few[0] == 0.0
    assert 1.0 > few[1] > few[2] > few[3] > 0.0
    assert few[4:].tolist() == [0.0, 0.0]


def test_an_unknown_attribute_changes_no_bit() -> None:
    net = network()
    nothing_known = scores(net, new_user())
    assert torch.equal(scores(net, new_user(group=0.0, age=0.0)), nothing_known)
    with torch.no_grad():
        no_columns = net.item_scores(to_batch(new_user(), 40, CONFIG.context), PRIORS)
    assert torch.equal(no_columns, nothing_known)
    assert not torch.equal(scores(net, new_user(group=1.0)), nothing_known)
    assert not torch.equal(scores(net, new_user(place=2)), nothing_known)


def test_a_user_with_many_events_has_the_scores_of_a_network_without_the_head() -> None:
    net, log = network(), sample_log()
    last = np.flatnonzero(np.diff(log.user_idx, append=0))[:3]  # the last event of a user
    assert (last - log.user_start()[last] >= MAX_EVENTS - 10).all()
    long = queries_at(log, last, history_len=40, time_given=True)
    is_long = (long.item_idx > 0).sum(1) >= MAX_EVENTS
    assert is_long.any()
    long = long.take(np.flatnonzero(is_long))
    known = replace(long, context={"user.group": np.ones(len(long), np.float32)})
    assert net.user_head is not None
    with net.user_head.paused():
        without = scores(net, known)
    assert torch.equal(scores(net, known), without)


def test_candidates_get_the_scores_of_the_whole_catalogue() -> None:
    net = network()
    batch = to_batch(new_user(group=1.0, place=3), 40, NAMES)
    candidates = torch.tensor([0, 2, 5, 9])
    with torch.no_grad():
        part = net.score_items(batch, PRIORS, candidates).item_scores
        whole = net.score_items(batch, PRIORS).item_scores
    torch.testing.assert_close(part[:, 1:], whole[:, candidates[1:]])


def test_what_users_start_with_and_what_a_group_has_is_counted() -> None:
    log = sample_log()
    is_young = CODES[log.user_idx, 0] == 1
    items = np.where(is_young & (log.item_idx == 1), 2, log.item_idx).astype(np.int32)
    tables = count_user_tables(replace(log, item_idx=items), CATALOG)
    lifts = tables.level_factors @ tables.item_factors.T  # (n_levels, n_items)
    assert lifts[1, 1] < 0.0 < lifts[2, 1]
    assert lifts[1, 2] > 0.0 > lifts[2, 2]
    assert not lifts[0].any()
    assert tables.start.shape == (N_ITEMS + 1,)
    assert tables.start[0] == 0.0


def test_a_head_is_used_after_loading_if_it_has_weights() -> None:
    other = ChronotopeNet(CONFIG, CATALOG)
    other.load_state_dict(network().state_dict())
    assert other.user_head is not None
    assert other.user_head.active
    assert read_attributes(other.user_head) == ("group", "age")
    other.user_head.reset()
    assert not other.user_head.active
    assert read_attributes(other.user_head) == ()


@pytest.mark.slow
@pytest.mark.parametrize("has_attributes", [True, False])
def test_the_graph_scores_new_users_as_torch_does(has_attributes: bool, tmp_path: Path) -> None:
    catalog = CATALOG if has_attributes else replace(CATALOG, user_attributes=None)
    net = network(catalog)
    export_onnx(net, PRIORS, tmp_path / MODEL)
    about = {"name": "net", "dataset": "town", "data_version": "1", "history_len": 40}
    about |= {"context": ("rain",), "attributes": COLUMNS if has_attributes else ()}
    write_bundle(tmp_path, catalog, trained_until_s=0, **about)
    bundle = OnnxRecommender.load(tmp_path)
    assert bundle.reads_activity
    names = NAMES if has_attributes else CONFIG.context
    few = queries_at(sample_log(), np.arange(3, 8), history_len=40, time_given=True)
    for queries in (new_user(), new_user(group=2.0, age=3.0, place=4), few):
        with torch.no_grad():
            expected = net.item_scores(to_batch(queries, 40, names), PRIORS)
        np.testing.assert_allclose(bundle.scores(queries), expected, atol=2e-3, rtol=1e-4)
    unknown, level_unknown = bundle.scores(new_user()), bundle.scores(new_user(group=0.0))
    np.testing.assert_array_equal(unknown, level_unknown)


def test_weights_have_a_row_for_each_fade() -> None:
    head = network().user_head
    assert head is not None
    assert all(weights.shape[0] == len(FADES) for weights in head.fitted())
