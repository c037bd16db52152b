"""Return features against hand-written values, and networks that were stored without them."""

import math

import numpy as np
import pytest
import torch

from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.history_index import ItemRows, index_history, item_rows
from chronotope.models.item_tables import ItemTables
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.models.repeat_features import N_RETURN_FEATURES, return_features
from chronotope.models.repeat_features.later_inputs import linear_with_later_inputs
from chronotope.models.repeat_features.return_features import SHORT_H
from chronotope.testing.recommender_suite import sample_catalog, sample_log

DAY_S = 86_400
N_CATEGORIES = 3
CATEGORY = torch.arange(16) % 2 + 1  # odd items are of category 2
COLUMNS = (
    "last",
    "mean",
    "overdue",
    "is_repeated",
    "interval",
    "today",
    "share",
    "category_share",
    "category_3h",
    "category_24h",
    "category_at_hour",
)


def features_of(
    days: list[float], items: list[int], width: int | None = None
) -> dict[int, dict[str, float]]:
    """Features of each item of one user's events, asked at the last event."""
    log = EventLog.sorted(
        user_idx=[1] * len(days), item_idx=items, occurred_s=[round(d * DAY_S) for d in days]
    )
    queries = queries_at(log, np.array([len(days) - 1]), history_len=None, time_given=True)
    batch = to_batch(queries, width or len(days) - 1)
    catalog = sample_catalog()
    view = ItemTables(catalog).view(count_priors(sample_log(), catalog), None)
    rows = item_rows(index_history(batch, view))
    values = return_features(rows, batch, CATEGORY, N_CATEGORIES)
    assert values.shape == (len(set(items[:-1])), N_RETURN_FEATURES)
    item_idx = rows.select(batch.item_idx[..., None])[:, 0].tolist()
    return {
        item: dict(zip(COLUMNS, row, strict=True))
        for item, row in zip(item_idx, values.tolist(), strict=True)
    }


def test_an_item_is_overdue_by_the_log_of_its_age_over_its_interval() -> None:
    """Item 1 came on days 0, 7 and 14, and it is day 28: once more than its interval."""
    regular = features_of([0, 7, 13, 14, 28], [1, 1, 3, 1, 5])[1]
    age_h, interval_h = 14 * 24 + SHORT_H, 7 * 24 + SHORT_H
    assert regular["is_repeated"] == 1.0
    assert regular["last"] == pytest.approx(math.log(age_h) / 3 - 1, abs=1e-5)
    assert regular["mean"] == pytest.approx(math.log(21 * 24 + SHORT_H) / 3 - 1, abs=1e-5)
    assert regular["interval"] == pytest.approx(math.log(interval_h) / 3 - 1, abs=1e-5)
    assert regular["overdue"] == pytest.approx(math.log(age_h / interval_h) / 2, abs=1e-5)
    assert regular["share"] == pytest.approx(math.log(3 / 4) / 3 + 1, abs=1e-5)


def test_an_item_had_once_has_no_interval() -> None:
    once = features_of([0, 7, 13, 14, 28], [1, 1, 3, 1, 5])[3]
    assert [once[name] for name in ("is_repeated", "interval", "overdue")] == [0.0, 0.0, 0.0]


def test_today_is_the_local_day_of_the_request() -> None:
    features = features_of([0.9, 1.1, 1.2, 1.5], [1, 2, 1, 3])
    assert features[1]["today"] == pytest.approx(math.log(2))
    assert features_of([0.9, 1.1, 1.2, 1.5], [1, 2, 4, 3])[1]["today"] == 0.0


def test_a_category_is_counted_over_all_its_items() -> None:
    """Items 1 and 3 are of one category; item 2 is of another and was had at another hour."""
    features = features_of([0, 1, 1.5, 2], [1, 3, 2, 5])
    assert features[1]["category_share"] == features[3]["category_share"]
    assert features[1]["category_share"] == pytest.approx(math.log(2 / 3) / 3 + 1, abs=1e-5)
    decayed = math.exp(-48 / 24) + math.exp(-24 / 24)
    assert features[1]["category_24h"] == pytest.approx(math.log1p(decayed), abs=1e-5)
    at_hour = math.log((2 + 2 / 3) / (2 + 1)) / 3 + 1
    assert features[1]["category_at_hour"] == pytest.approx(at_hour, abs=1e-4)
    assert features[2]["category_at_hour"] < features[1]["category_at_hour"]


def test_padding_changes_nothing() -> None:
    days, items = [0.0, 7, 13, 14, 28], [1, 1, 3, 1, 5]
    assert features_of(days, items, width=12) == features_of(days, items)


def test_a_traced_graph_has_the_same_features_in_a_row_for_each_event() -> None:
    log, catalog = sample_log(), sample_catalog()
    queries = queries_at(log, np.arange(20, 60), history_len=16, time_given=True)
    batch = to_batch(queries, 16)
    history = index_history(batch, ItemTables(catalog).view(count_priors(log, catalog), None))
    rows = item_rows(history)
    every_event = ItemRows(history.representative_row, None, rows.shape)
    compact, traced = (
        return_features(some, batch, CATEGORY, N_CATEGORIES) for some in (rows, every_event)
    )
    assert rows.event_idx is not None
    torch.testing.assert_close(traced[rows.event_idx], compact)
    assert traced.isfinite().all()


def test_a_seed_draws_the_same_weights_and_the_later_inputs_have_none() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(4, 3)
    torch.manual_seed(0)
    layer = linear_with_later_inputs(6, 3, 2)
    assert torch.equal(layer.weight, torch.cat([plain.weight, torch.zeros(3, 2)], dim=1))
    assert torch.equal(layer.bias, plain.bias)


def test_a_network_stored_without_them_scores_as_before() -> None:
    catalog, log = sample_catalog(), sample_log()
    config = ModelConfig(history_len=16, n_hidden=8, content=False)
    net = ChronotopeNet(config, catalog)
    torch.nn.init.normal_(net.repeat_head.mix_out.weight)  # as if trained
    state = net.state_dict()
    name = "repeat_head.mix_features.weight"
    older = state | {name: state[name][:, :-N_RETURN_FEATURES].clone()}
    with torch.no_grad():
        net.repeat_head.mix_features.weight[:, -N_RETURN_FEATURES:] = 1.0
    queries = queries_at(log, np.arange(20, 60), history_len=16, time_given=True)
    batch, priors = to_batch(queries, 16), count_priors(log, catalog)
    with torch.no_grad():
        changed = net.item_scores(batch, priors)
        net.load_state_dict(older)
        loaded = net.item_scores(batch, priors)
        net.load_state_dict(state)
        assert torch.equal(loaded, net.item_scores(batch, priors))
    assert not torch.allclose(loaded, changed)


def test_histories_without_events_have_no_rows() -> None:
    catalog, log = sample_catalog(), sample_log()
    queries = queries_at(log, np.array([0]), history_len=8, time_given=True)
    batch = to_batch(queries, 8)
    view = ItemTables(catalog).view(count_priors(log, catalog), None)
    rows = item_rows(index_history(batch, view))
    assert return_features(rows, batch, CATEGORY, N_CATEGORIES).shape == (0, N_RETURN_FEATURES)
